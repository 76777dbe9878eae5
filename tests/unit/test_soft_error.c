#include "policy/soft_error.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "test.h"

/* Rows are written with ' where JSON has ", to be readable; so that a read behind the end is seen,
 * the text has no NUL. */
static char *json_of(const char *text)
{
	char *copy = xmalloc(strlen(text));

	for (size_t i = 0; text[i]; i++)
		copy[i] = text[i] == '\'' ? '"' : text[i];
	return copy;
}

enum { UNNAMED = -502 };

struct error_row {
	const char *text;
	int status; /* 0: no error; UNNAMED: one that names none */
	const char *message, *type, *code;
};

static void check_words(const struct soft_error *got, const struct error_row *want)
{
	CHECK_INT(got->named ? got->status : -got->status, want->status);
	CHECK_STR(got->message, want->message);
	CHECK_STR(got->type, want->type);
	CHECK_STR(got->code, want->code);
}

static void check_rows(const struct error_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct error_row *row = &rows[i];
		_cleanup_free_ char *text = json_of(row->text);
		struct soft_error got = {.status = 7};
		bool is_error;

		ROW("%s", row->text);
		is_error = soft_error_read(text, strlen(row->text), &got);
		CHECK_INT(is_error, row->status != 0);
		if (is_error && row->status)
			check_words(&got, row);
		else
			CHECK_INT(got.status, 7); /* untouched */
	}
}

/* ---- The shapes that Fireworks' answers have (facts, 3.2), and OpenAI's and Anthropic's. */

static const struct error_row shapes[] = {
	{"{'error':{'object':'error','type':'invalid_request_error','code':'invalid_request_error',"
	 "'message':'Extra inputs are not permitted, field: x'}}",
		400, "Extra inputs are not permitted, field: x", "invalid_request_error",
		"invalid_request_error"},
	{"{'error':{'object':'error','type':'invalid_request_error','code':'too_many_requests',"
	 "'message':'Request didn\\u0027t generate first token'}}",
		429, "Request didn't generate first token", "invalid_request_error",
		"too_many_requests"},
	{"{'error':{'message':'Deployment is scaling up.','code':'DEPLOYMENT_SCALING_UP',"
	 "'type':'error'}}",
		503, "Deployment is scaling up.", "error", "DEPLOYMENT_SCALING_UP"},
	{"{'error':{'message':'m','code':'SERVICE_UNAVAILABLE','type':'error'}}", 503, "m", "error",
		"SERVICE_UNAVAILABLE"},
	{"{'error':{'message':'m','code':'BAD_REQUEST','type':'error'}}", 400, "m", "error",
		"BAD_REQUEST"},
	{"{'error':{'code':'NOT_FOUND','message':'Model not found'}}", 404, "Model not found", "",
		"NOT_FOUND"},
	{"{'error':'Too Many Requests','message':'You have exceeded your usage limits.'}", 429,
		"You have exceeded your usage limits.", "", "Too Many Requests"},
	{"{'error':'it broke'}", UNNAMED, "it broke", "", ""},
	{"{'code':5,'message':'RlorTrainerJob not found'}", UNNAMED, "RlorTrainerJob not found", "",
		"5"},
	{"{'message':'it broke'}", UNNAMED, "it broke", "", ""},
	{"{'error':{'message':'m','type':'server_error','param':null,'code':null}}", 500, "m",
		"server_error", ""},
	{"{'error':{'message':'m','type':'tokens','param':null,'code':'rate_limit_exceeded'}}", 429,
		"m", "tokens", "rate_limit_exceeded"},
	{"{'type':'error','error':{'type':'overloaded_error','message':'Overloaded'}}", 503,
		"Overloaded", "overloaded_error", ""},
	{"{'type':'error','error':{'type':'api_error','message':'m'}}", 500, "m", "api_error", ""},
	{"{'error':{'code':429,'message':'Quota','status':'RESOURCE_EXHAUSTED'}}", 429, "Quota", "",
		"429"},
	/* andiron's own */
	{"{'error':{'message':'m','type':'http_response_incomplete','param':null,"
	 "'code':'http_response_incomplete'}}",
		UNNAMED, "m", "http_response_incomplete", "http_response_incomplete"},
};

/* ---- Which status it names. */

static const struct error_row named[] = {
	/* a number, as such or as a string */
	{"{'error':{'message':'m','code':400}}", 400, "m", "", "400"},
	{"{'error':{'message':'m','code':599}}", 599, "m", "", "599"},
	{"{'error':{'message':'m','code':'503'}}", 503, "m", "", "503"},
	{"{'error':{'message':'m','code':399}}", UNNAMED, "m", "", "399"},
	{"{'error':{'message':'m','code':600}}", UNNAMED, "m", "", "600"},
	{"{'error':{'message':'m','code':5030}}", UNNAMED, "m", "", "5030"},
	{"{'error':{'message':'m','code':50}}", UNNAMED, "m", "", "50"},
	{"{'error':{'message':'m','code':-429}}", UNNAMED, "m", "", "-429"},
	{"{'error':{'message':'m','code':'42x'}}", UNNAMED, "m", "", "42x"},
	{"{'error':{'message':'m','code':true}}", UNNAMED, "m", "", ""},
	{"{'error':{'message':'m','code':[429]}}", UNNAMED, "m", "", ""},
	{"{'message':'m','code':504}", 504, "m", "", "504"},
	{"{'message':'m','type':'504'}", 504, "m", "504", ""},
	/* status before code before type; one that says nothing is passed over */
	{"{'error':{'message':'m','type':'api_error','code':429,'status':503}}", 503, "m",
		"api_error", "429"},
	{"{'error':{'message':'m','type':'api_error','code':429,'status':200}}", 429, "m",
		"api_error", "429"},
	{"{'error':{'message':'m','type':'api_error','code':14}}", 500, "m", "api_error", "14"},
	{"{'error':{'message':'m','type':'api_error','code':'x','status':null}}", 500, "m",
		"api_error", "x"},
	{"{'error':{'type':'rate_limit_error','code':''}}", 429, "", "rate_limit_error", ""},
	/* the error's own before what stands beside it */
	{"{'error':{'message':'m','type':'not_found_error'},'code':503,'type':'x'}", 404, "m",
		"not_found_error", "503"},
	{"{'error':{'message':'m','type':'x'},'code':503}", 503, "m", "x", "503"},
	{"{'error':{'message':'m'},'type':'rate_limit_error'}", 429, "m", "rate_limit_error", ""},
	{"{'error':{'message':'in'},'message':'out'}", UNNAMED, "in", "", ""},
	{"{'error':{'code':500},'message':'out'}", 500, "out", "", "500"},
	{"{'error':{'message':'','code':500},'message':'out'}", 500, "out", "", "500"},
	/* an `error` that is a string comes last, and is not lost */
	{"{'error':'Service Unavailable'}", 503, "Service Unavailable", "", ""},
	{"{'error':'Service Unavailable','code':429}", 429, "Service Unavailable", "", "429"},
	{"{'error':'oops','message':'m','code':'BAD_REQUEST'}", 400, "m", "", "BAD_REQUEST"},
	{"{'error':'','message':'m'}", UNNAMED, "m", "", ""},
	/* other things that say something */
	{"{'error':true}", UNNAMED, "", "", ""},
	{"{'error':17}", UNNAMED, "", "", ""},
	{"{'error':['x']}", UNNAMED, "", "", ""},
	{"{'error':{'x':1}}", UNNAMED, "", "", ""},
	{"{'error':{'details':[{'x':1}]}}", UNNAMED, "", "", ""},
	{"{'error':null,'message':'m'}", UNNAMED, "m", "", ""},
	/* order, blanks and duplicates */
	{" \r\n\t{ 'message' : 'm' , 'code' : 404 } \r\n\t", 404, "m", "", "404"},
	{"{'code':'NOT_FOUND','type':'error','error':{'message':'m'}}", 404, "m", "error",
		"NOT_FOUND"},
	{"{'error':{'message':'a'},'error':{'message':'b'}}", UNNAMED, "a", "", ""},
	/* escapes, in what is read */
	{"{'error':{'message':'\\u00e9\\n\\'\\ud83d\\ude00','code':'\\u0034\\u0030\\u0034'}}", 404,
		"\xc3\xa9\n\"\xf0\x9f\x98\x80", "", "404"},
};

/* ---- What is none. */

static const struct error_row none[] = {
	{"{}", 0, 0, 0, 0},
	{" { } ", 0, 0, 0, 0},
	{"{'error':null}", 0, 0, 0, 0},
	{"{'error':''}", 0, 0, 0, 0},
	{"{'error':false}", 0, 0, 0, 0},
	{"{'error':0}", 0, 0, 0, 0},
	{"{'error':{}}", 0, 0, 0, 0},
	{"{'error':[]}", 0, 0, 0, 0},
	{"{'error':{'code':0,'message':'','details':[],'x':null,'y':{}}}", 0, 0, 0, 0},
	{"{'message':''}", 0, 0, 0, 0},
	{"{'message':null}", 0, 0, 0, 0},
	{"{'message':{'role':'assistant','content':'hello'}}", 0, 0, 0, 0},
	{"{'message':['x']}", 0, 0, 0, 0},
	{"{'type':'error'}", 0, 0, 0, 0},
	{"{'type':'ping'}", 0, 0, 0, 0},
	{"{'code':503}", 0, 0, 0, 0},
	{"{'code':5,'message':''}", 0, 0, 0, 0},
	{"{'type':'message_stop','code':'x','error':null,'message':''}", 0, 0, 0, 0},
	/* another key */
	{"{'error':{'message':'m'},'choices':[]}", 0, 0, 0, 0},
	{"{'choices':[],'error':{'message':'m'}}", 0, 0, 0, 0},
	{"{'id':'x','error':{'message':'m'}}", 0, 0, 0, 0},
	{"{'object':'error','message':'m','code':404}", 0, 0, 0, 0},
	{"{'error':'m','data':null}", 0, 0, 0, 0},
	{"{'detail':[{'loc':['body'],'msg':'m','type':'missing'}]}", 0, 0, 0, 0},
	{"{'detail':'m'}", 0, 0, 0, 0},
	{"{'code':5,'message':'m','details':[]}", 0, 0, 0, 0},
	{"{'error':{'message':'m'},'status':503}", 0, 0, 0, 0},
	{"{'error':{'message':'m'},'Error':1}", 0, 0, 0, 0},
	{"{'errors':['m']}", 0, 0, 0, 0},
	{"{'':'','error':'m'}", 0, 0, 0, 0},
	{"{'type':'message','message':'m','role':'assistant'}", 0, 0, 0, 0},
	/* no JSON object, or not a whole one, or more than one */
	{"", 0, 0, 0, 0},
	{" ", 0, 0, 0, 0},
	{"null", 0, 0, 0, 0},
	{"'error'", 0, 0, 0, 0},
	{"[{'error':{'message':'m'}}]", 0, 0, 0, 0},
	{"[DONE]", 0, 0, 0, 0},
	{"error: it broke", 0, 0, 0, 0},
	{"<html><title>502 Bad Gateway</title></html>", 0, 0, 0, 0},
	{"{'error':{'message':'m'}", 0, 0, 0, 0},
	{"{'error':{'message':'m", 0, 0, 0, 0},
	{"{'error':'m'", 0, 0, 0, 0},
	{"{'error':'m',}", 0, 0, 0, 0},
	{"{'error':'m']", 0, 0, 0, 0},
	{"{'error':'m'}x", 0, 0, 0, 0},
	{"{'error':'m'}{'choices':[]}", 0, 0, 0, 0},
	{"{'error':{'message':'m'],'code':1}", 0, 0, 0, 0},
	{"{'error':{'message':'m']}", 0, 0, 0, 0},
	{"{'error':oops}", 0, 0, 0, 0},
	{"{error:'m'}", 0, 0, 0, 0},
};

static void knows_the_shapes(void)
{
	check_rows(shapes, COUNT_OF(shapes));
}

static void finds_the_status(void)
{
	check_rows(named, COUNT_OF(named));
}

static void leaves_the_rest(void)
{
	check_rows(none, COUNT_OF(none));
}

/* No beginning of an error is one. */
static void an_error_is_whole(void)
{
	static const char row[] = "{'error':{'message':'m','code':429},'type':'error'}";
	_cleanup_free_ char *text = json_of(row);
	struct soft_error got;

	for (size_t len = 0; len <= strlen(row); len++) {
		_cleanup_free_ char *exact = xmalloc(len);

		ROW("%zu bytes", len);
		memcpy(exact, text, len);
		CHECK_INT(soft_error_read(exact, len, &got), len == strlen(row));
	}
}

/* ---- Texts that are known to be errors. */

static void reads_any(void)
{
	static const struct error_row rows[] = {
		{"{'error':{'message':'m','code':'NOT_FOUND'}}", 404, "m", "", "NOT_FOUND"},
		/* of the responses stream, of Anthropic, of gRPC */
		{"{'type':'error','code':'server_error','message':'m','param':null,"
		 "'sequence_number':1}",
			500, "m", "error", "server_error"},
		{"{'type':'error','error':{'type':'rate_limit_error','message':'m'},"
		 "'request_id':'req_1'}",
			429, "m", "rate_limit_error", ""},
		{"{'code':5,'message':'m','details':[]}", UNNAMED, "m", "", "5"},
		{"{'message':'m','status':503}", 503, "m", "", ""},
		{"{'error':{'message':'m','type':'x'},'status':'503'}", 503, "m", "x", ""},
		{"{'error':{'message':'m'},'choices':[]}", UNNAMED, "m", "", ""},
		{"{'detail':'Not Found'}", UNNAMED, "Not Found", "", ""},
		{"{'error':'Not Found','detail':'no such job'}", 404, "no such job", "",
			"Not Found"},
		{"{'type':'error'}", UNNAMED, "", "error", ""},
		{"{'error':{'code':503}}", 503, "", "", "503"},
		/* none of these words: all of it */
		{"{'detail':[{'msg':'x'}]}", UNNAMED, "{\"detail\":[{\"msg\":\"x\"}]}", "", ""},
		{"{'error':null}", UNNAMED, "{\"error\":null}", "", ""},
		{"['x']", UNNAMED, "[\"x\"]", "", ""},
		{"it broke", UNNAMED, "it broke", "", ""},
		{" \r\n\tit broke \r\n\t", UNNAMED, "it broke", "", ""},
		{"Too Many Requests", 429, "Too Many Requests", "", ""},
		{"503", 503, "503", "", ""},
		{"'it \\u0062roke'", UNNAMED, "it broke", "", ""},
		{" 'bad_gateway' ", 502, "bad_gateway", "", ""},
		{"{'error':{'message':'m'", UNNAMED, "{\"error\":{\"message\":\"m\"", "", ""},
		{"{'error':'m'}x", UNNAMED, "m", "", ""},
		/* nothing */
		{"{}", UNNAMED, "", "", ""},
		{" {} ", UNNAMED, "", "", ""},
		{"''", UNNAMED, "", "", ""},
		{"", UNNAMED, "", "", ""},
		{" \n", UNNAMED, "", "", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *text = json_of(rows[i].text);
		struct soft_error got;

		ROW("%s", rows[i].text);
		memset(&got, 'x', sizeof(got));
		soft_error_read_any(text, strlen(rows[i].text), &got);
		check_words(&got, &rows[i]);
	}
}

/* ---- Long words. */

static void words_are_cut_between_characters(void)
{
	for (size_t extra = 0; extra < 4; extra++) {
		_cleanup_str_ struct str json = STR_NULL, text = STR_NULL;
		struct soft_error got;

		ROW("%zu bytes before the first character", extra);
		for (size_t i = 0; i < 300; i++)
			str_add(&text, i < extra ? "x" : "\xe2\x82\xac");
		str_addf(&json, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":\"%s\"}}",
			str_text(&text), str_text(&text), str_text(&text));
		CHECK(soft_error_read(json.data, json.len, &got));
		CHECK_INT(strlen(got.message), extra + (511 - extra) / 3 * 3);
		CHECK_INT(strlen(got.type), extra + (63 - extra) / 3 * 3);
		CHECK_INT(strlen(got.code), extra + (63 - extra) / 3 * 3);
		CHECK(str_begins(str_text(&text), got.message));
		soft_error_read_any(text.data, text.len, &got);
		CHECK_INT(strlen(got.message), extra + (511 - extra) / 3 * 3);
		CHECK(str_begins(str_text(&text), got.message));
	}
}

static void a_long_reason_is_no_code(void)
{
	_cleanup_str_ struct str json = STR_NULL;
	struct soft_error got;

	str_addf(&json, "{\"error\":\"%063d\",\"message\":\"m\"}", 1);
	CHECK(soft_error_read(json.data, json.len, &got));
	CHECK_INT(strlen(got.code), 63);
	str_clear(&json);
	str_addf(&json, "{\"error\":\"%064d\",\"message\":\"m\"}", 1);
	CHECK(soft_error_read(json.data, json.len, &got));
	CHECK_STR(got.code, "");
	CHECK_STR(got.message, "m");
	str_clear(&json);
	str_addf(&json, "{\"error\":{\"message\":\"m\",\"code\":%063d,\"type\":%064d}}", 5, 5);
	CHECK(soft_error_read(json.data, json.len, &got));
	CHECK_INT(strlen(got.code), 63);
	CHECK_STR(got.type, "");
}

/* ---- Names. */

static void names_map(void)
{
	static const struct {
		const char *name;
		int want;
	} rows[] = {
		/* CONTRACT's */
		{"rate_limit_error", 429},
		{"too_many_requests", 429},
		{"SERVICE_UNAVAILABLE", 503},
		{"DEPLOYMENT_SCALING_UP", 503},
		{"overloaded_error", 503},
		{"invalid_request_error", 400},
		{"BAD_REQUEST", 400},
		{"NOT_FOUND", 404},
		{"not_found_error", 404},
		{"authentication_error", 401},
		{"UNAUTHORIZED", 401},
		{"UNAUTHENTICATED", 401},
		{"permission_error", 403},
		{"FORBIDDEN", 403},
		{"PERMISSION_DENIED", 403},
		{"api_error", 500},
		{"internal_server_error", 500},
		/* OpenAI's and Anthropic's others */
		{"server_error", 500},
		{"rate_limit_exceeded", 429},
		{"insufficient_quota", 429},
		{"invalid_api_key", 401},
		{"model_not_found", 404},
		{"context_length_exceeded", 400},
		{"invalid_prompt", 400},
		{"content_filter", 400},
		{"content_policy_violation", 400},
		{"billing_error", 402},
		{"conflict_error", 409},
		{"request_too_large", 413},
		{"timeout_error", 504},
		{"service_unavailable_error", 503},
		{"engine_overloaded", 503},
		{"engine_overloaded_error", 503},
		{"server_overloaded", 503},
		{"bad_request_error", 400},
		{"invalid_request", 400},
		{"permission_denied_error", 403},
		{"unprocessable_entity_error", 422},
		{"internal_error", 500},
		/* gRPC's */
		{"INVALID_ARGUMENT", 400},
		{"FAILED_PRECONDITION", 400},
		{"OUT_OF_RANGE", 400},
		{"ALREADY_EXISTS", 409},
		{"ABORTED", 409},
		{"RESOURCE_EXHAUSTED", 429},
		{"UNIMPLEMENTED", 501},
		{"INTERNAL", 500},
		{"UNAVAILABLE", 503},
		{"DEADLINE_EXCEEDED", 504},
		/* reason phrases */
		{"Bad Request", 400},
		{"Payment Required", 402},
		{"Method Not Allowed", 405},
		{"Request Timeout", 408},
		{"Conflict", 409},
		{"Precondition Failed", 412},
		{"Payload Too Large", 413},
		{"Content Too Large", 413},
		{"Request Entity Too Large", 413},
		{"Unprocessable Entity", 422},
		{"Too Early", 425},
		{"Too Many Requests", 429},
		{"Internal Server Error", 500},
		{"Not Implemented", 501},
		{"Bad Gateway", 502},
		{"Gateway Timeout", 504},
		{"Service Overloaded", 503},
		/* however they are written */
		{"RateLimitError", 429},
		{"rate-limit-error", 429},
		{"RATE_LIMIT_ERROR", 429},
		{" __overloaded__ ", 503},
		{"InternalServerError", 500},
		{"quotaExceeded", 429},
		{"validationError", 422},
		/* numbers in words */
		{"400", 400},
		{"429", 429},
		{"599", 599},
		{"399", 0},
		{"600", 0},
		{"200", 0},
		{"4290", 0},
		{"42", 0},
		{"429 ", 0},
		{"4e2", 0},
		{"-429", 0},
		/* nothing of the kind */
		{"", 0},
		{" ", 0},
		{"_", 0},
		{"error", 0},
		{"rate_limit", 0},
		{"rate_limit_errors", 0},
		{"not_founds", 0},
		{"unknown", 0},
		{"tokens", 0},
		{"rate.limit.error", 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].name);
		CHECK_INT(soft_error_status(rows[i].name), rows[i].want);
	}
}

TEST_MAIN(TEST(knows_the_shapes), TEST(finds_the_status), TEST(leaves_the_rest),
	TEST(an_error_is_whole), TEST(reads_any), TEST(words_are_cut_between_characters),
	TEST(a_long_reason_is_no_code), TEST(names_map))
