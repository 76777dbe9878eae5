#include "policy/class.h"

#include "test.h"

#define TRAINER "/training/v1/rlorTrainerJobs/acct/job"
#define ACCOUNT "/v1/accounts/acct"

/* Fireworks' endpoints, family by family. */
static const struct {
	const char *method, *path;
	enum request_class want;
} endpoints[] = {
	/* inference without a state */
	{"POST", "/inference/v1/chat/completions", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/completions", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/messages", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/messages/count_tokens", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/embeddings", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/rerank", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/audio/transcriptions", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/audio/translations", CLASS_REPLAYABLE},
	{"GET", "/inference/v1/models", CLASS_REPLAYABLE},
	{"HEAD", "/inference/v1/models", CLASS_REPLAYABLE},
	{"OPTIONS", "/inference/v1/chat/completions", CLASS_REPLAYABLE},
	{"GET", "/inference/v1/chat/completions", CLASS_REPLAYABLE},
	/* inference that may have made something */
	{"POST", "/inference/v1/responses", CLASS_GUARDED},
	{"POST", "/inference/v1/responses/resp_1/cancel", CLASS_GUARDED},
	{"GET", "/inference/v1/responses/resp_1", CLASS_REPLAYABLE},
	{"DELETE", "/inference/v1/responses/resp_1", CLASS_GUARDED},
	{"POST", "/inference/v1/workflows/accounts/fireworks/models/flux-1-dev-fp8/text_to_image",
		CLASS_GUARDED},
	{"POST", "/inference/v1/workflows/accounts/fireworks/models/flux-kontext-pro",
		CLASS_GUARDED},
	{"POST", "/inference/v1/workflows/accounts/fireworks/models/flux-kontext-pro/get_result",
		CLASS_GUARDED},
	{"POST", "/inference/v1/images/generations", CLASS_GUARDED},
	{"POST", "/inference/v1/files", CLASS_GUARDED},
	{"POST", "/inference/v1/batches", CLASS_GUARDED},
	/* the methods of a POST that is listed are not */
	{"PUT", "/inference/v1/chat/completions", CLASS_GUARDED},
	{"DELETE", "/inference/v1/chat/completions", CLASS_GUARDED},
	{"post", "/inference/v1/chat/completions", CLASS_GUARDED},
	/* nor are paths near one */
	{"POST", "/inference/v1/chat/completions/x", CLASS_GUARDED},
	{"POST", "/inference/v1/chat/completionsx", CLASS_GUARDED},
	{"POST", "/inference/v1/Chat/Completions", CLASS_GUARDED},
	{"POST", "/inference/v2/chat/completions", CLASS_GUARDED},
	{"POST", "/v1/chat/completions", CLASS_GUARDED},
	{"POST", "/x/inference/v1/chat/completions", CLASS_GUARDED},
	{"POST", "/inference/v1", CLASS_GUARDED},
	{"POST", "/", CLASS_GUARDED},
	{"POST", "", CLASS_GUARDED},
	/* the control plane: reading */
	{"GET", "/v1/accounts", CLASS_REPLAYABLE},
	{"GET", ACCOUNT, CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/metrics", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/deployments/d", CLASS_REPLAYABLE},
	{"HEAD", ACCOUNT "/deployments/d", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/rlorTrainerJobs/j", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/models/m:getDownloadEndpoint", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/models/m:validateUpload", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/datasets/d:getDownloadEndpoint", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/evaluationJobs/e:getExecutionLogEndpoint", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/dpoJobs/j:getMetricsFileEndpoint", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/users/u/apiKeys", CLASS_REPLAYABLE},
	{"GET", "/v1/accounts/acct/models/m/operations/o", CLASS_REPLAYABLE},
	/* the control plane: writing */
	{"POST", ACCOUNT "/batchInferenceJobs", CLASS_GUARDED},
	{"POST", ACCOUNT "/deployments", CLASS_GUARDED},
	{"PATCH", ACCOUNT "/deployments/d", CLASS_GUARDED},
	{"PATCH", ACCOUNT "/deployments/d:scale", CLASS_GUARDED},
	{"POST", ACCOUNT "/deployments/d:undelete", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/deployments/d", CLASS_GUARDED},
	{"POST", ACCOUNT "/models", CLASS_GUARDED},
	{"POST", ACCOUNT "/models/m:getUploadEndpoint", CLASS_GUARDED},
	{"POST", ACCOUNT "/models/m:prepare", CLASS_GUARDED},
	{"POST", ACCOUNT "/deployedModels", CLASS_GUARDED},
	{"POST", ACCOUNT "/datasets", CLASS_GUARDED},
	{"POST", ACCOUNT "/datasets/d:upload", CLASS_GUARDED},
	{"POST", ACCOUNT "/supervisedFineTuningJobs", CLASS_GUARDED},
	{"POST", ACCOUNT "/supervisedFineTuningJobs/j:resume", CLASS_GUARDED},
	{"POST", ACCOUNT "/reinforcementFineTuningJobs/j:cancel", CLASS_GUARDED},
	{"POST", ACCOUNT "/reinforcementFineTuningJobs/j:resume", CLASS_GUARDED},
	{"POST", ACCOUNT "/rlorTrainerJobs", CLASS_GUARDED},
	{"POST", ACCOUNT "/rlorTrainerJobs/j:resume", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/rlorTrainerJobs/j", CLASS_GUARDED},
	{"POST", ACCOUNT "/dpoJobs/j:resume", CLASS_GUARDED},
	{"POST", ACCOUNT "/evaluationJobs", CLASS_GUARDED},
	{"POST", ACCOUNT "/users", CLASS_GUARDED},
	{"POST", ACCOUNT "/secrets", CLASS_GUARDED},
	{"POST", ACCOUNT "/checkpoints/c:promote", CLASS_GUARDED},
	{"PUT", ACCOUNT "/secrets/s", CLASS_GUARDED},
	/* what must not happen twice at all */
	{"POST", ACCOUNT "/users/u/apiKeys", CLASS_NEVER},
	{"POST", ACCOUNT "/users/u/apiKeys:delete", CLASS_NEVER},
	{"POST", ACCOUNT "/apiKeys", CLASS_NEVER},
	{"DELETE", ACCOUNT "/users/u/apiKeys/k", CLASS_NEVER},
	{"POST", ACCOUNT "/rlorTrainerJobs/j:executeTrainStep", CLASS_NEVER},
	{"PUT", ACCOUNT "/rlorTrainerJobs/j:executeTrainStep", CLASS_NEVER},
	/* the trainer's data plane */
	{"POST", TRAINER "/api/v1/forward_backward", CLASS_NEVER},
	{"POST", TRAINER "/api/v1/optim_step", CLASS_NEVER},
	{"POST", TRAINER "/api/v1/retrieve_future", CLASS_NEVER},
	{"DELETE", TRAINER "/x", CLASS_NEVER},
	{"PATCH", TRAINER, CLASS_NEVER},
	{"post", TRAINER, CLASS_NEVER},
	{"GET", TRAINER "/api/v1/healthz", CLASS_GUARDED},
	{"HEAD", TRAINER "/api/v1/healthz", CLASS_GUARDED},
	{"OPTIONS", TRAINER "/api/v1/healthz", CLASS_GUARDED},
	/* beside it */
	{"POST", "/training/v1/serverless", CLASS_GUARDED},
	{"POST", "/training/v1/serverless/inference/v1/completions", CLASS_GUARDED},
	{"GET", "/training/v1/serverless", CLASS_REPLAYABLE},
	{"POST", "/hot_load/v1/models/hot_load", CLASS_GUARDED},
	{"GET", "/hot_load/v1/models/hot_load", CLASS_REPLAYABLE},
};

static void each_endpoint_has_its_class(void)
{
	for (size_t i = 0; i < COUNT_OF(endpoints); i++) {
		ROW("%s %s", endpoints[i].method, endpoints[i].path);
		CHECK_STR(class_name(class_of(endpoints[i].method, endpoints[i].path)),
			class_name(endpoints[i].want));
	}
	CHECK_STR(class_name(CLASS_REPLAYABLE), "replayable");
	CHECK_STR(class_name(CLASS_GUARDED), "guarded");
	CHECK_STR(class_name(CLASS_NEVER), "never");
}

static void decodes_paths(void)
{
	static const struct {
		const char *path, *want; /* NULL: refused */
	} rows[] = {
		{"", ""},
		{"/", "/"},
		{"/v1/models", "/v1/models"},
		{"/v1/models/", "/v1/models/"},
		{"/v1/models?after=a/../b", "/v1/models"},
		{"/v1/models#x", "/v1/models"},
		{"?x", ""},
		/* escapes */
		{"/%76%31", "/v1"},
		{"/a%2fb%2Fc", "/a/b/c"},
		{"/a%3Fb%23c", "/a?b#c"},
		{"/j%3AexecuteTrainStep", "/j:executeTrainStep"},
		{"/%c3%A9", "/\xc3\xa9"},
		{"/%2541", "/%41"},
		{"/100%", "/100%"},
		{"/%4", "/%4"},
		{"/%4?x", "/%4"},
		{"/%zz%4g", "/%zz%4g"},
		{"/%%41", "/%A"},
		/* slashes */
		{"//", "/"},
		{"//v1///models//", "/v1/models/"},
		{"/v1/%2f/models", "/v1/models"},
		/* dot segments */
		{"/.", "/"},
		{"/./", "/"},
		{"/..", "/"},
		{"/../..", "/"},
		{"/../a", "/a"},
		{"/a/.", "/a/"},
		{"/a/./b", "/a/b"},
		{"/a/..", "/"},
		{"/a/../b", "/b"},
		{"/a/b/..", "/a/"},
		{"/a/b/../c", "/a/c"},
		{"/a/b/../../c", "/c"},
		{"/a/b/../../../../c", "/c"},
		{"/a//../b", "/b"},
		{"/a/%2e/b", "/a/b"},
		{"/a/%2E%2e/b", "/b"},
		{"/a/.%2e/b", "/b"},
		{"/a/%2e./b", "/b"},
		{"/a%2f..%2fb", "/b"},
		{"/a%2f%2e%2e", "/"},
		{"/a/..?x", "/"},
		/* no dot segments */
		{"/...", "/..."},
		{"/a/.../b", "/a/.../b"},
		{"/.a/..b/c./d..", "/.a/..b/c./d.."},
		{"/a/%252e%252e/b", "/a/%2e%2e/b"},
		/* what would hide the rest */
		{"/%00", NULL},
		{"/v1/chat%00/completions", NULL},
		{"/v1/%00/../models", NULL},
	};
	char path[128];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].path);
		if (CHECK_INT(
			    path_decode(rows[i].path, path, sizeof(path)), rows[i].want != NULL) &&
			rows[i].want)
			CHECK_STR(path, rows[i].want);
	}
}

static void decodes_what_fits(void)
{
	char path[8];

	CHECK(path_decode("/234567", path, sizeof(path)));
	CHECK_STR(path, "/234567");
	CHECK(path_decode("/%32%33%34%35%36%37", path, sizeof(path)));
	CHECK_STR(path, "/234567");
	CHECK(path_decode("/1/../2/../3/../4/../5/../", path, sizeof(path)));
	CHECK_STR(path, "/");
	CHECK(!path_decode("/2345678", path, sizeof(path)));
	CHECK(!path_decode("/2345678/..", path, sizeof(path)));
	CHECK(path_decode("", path, 1));
	CHECK_STR(path, "");
	CHECK(!path_decode("/", path, 1));
}

/* No spelling of a path slips past the rules. */
static void no_spelling_evades(void)
{
	static const struct {
		const char *method, *target;
		enum request_class want;
	} rows[] = {
		{"POST", "/training//v1/rlorTrainerJobs/a/j/x", CLASS_NEVER},
		{"POST", "/training/v1/%72lorTrainerJobs/a/j/x", CLASS_NEVER},
		{"POST", "/%74raining%2fv1%2frlorTrainerJobs%2fa", CLASS_NEVER},
		{"POST", "/training/v1/./rlorTrainerJobs/a", CLASS_NEVER},
		{"POST", "/training/v1/x/%2e%2e/rlorTrainerJobs/a", CLASS_NEVER},
		{"POST", "/inference/v1/chat/completions/../../../../" TRAINER, CLASS_NEVER},
		{"GET", "/inference/../training/v1/rlorTrainerJobs/a/j/x", CLASS_GUARDED},
		{"POST", ACCOUNT "/rlorTrainerJobs/j%3aexecuteTrainStep", CLASS_NEVER},
		{"POST", ACCOUNT "/rlorTrainerJobs/j:executeTrain%53tep?x=y", CLASS_NEVER},
		{"POST", "//v1//accounts/a/users/u/apiKeys", CLASS_NEVER},
		{"POST", "/v1/accounts/a/users/u/%61piKeys", CLASS_NEVER},
		{"POST", "/inference/v1/chat/completions/../../../../v1/accounts/a/deployments",
			CLASS_GUARDED},
		{"POST", "/inference/v1/chat/completions/%2e%2e/responses", CLASS_GUARDED},
		{"POST", "/inference/v1/chat/completions/..", CLASS_GUARDED},
		{"POST", "/inference/v1/audio/../responses", CLASS_GUARDED},
		{"POST", "/inference/v1/audio/%2e%2e%2fresponses", CLASS_GUARDED},
		{"POST", "/inference/v1/responses?x=/inference/v1/chat/completions", CLASS_GUARDED},
		{"POST", "/inference/v1/responses#/inference/v1/completions", CLASS_GUARDED},
		{"POST", "/inference//v1/./chat/%63ompletions", CLASS_REPLAYABLE},
	};
	char path[256];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s %s", rows[i].method, rows[i].target);
		if (CHECK(path_decode(rows[i].target, path, sizeof(path))))
			CHECK_STR(class_name(class_of(rows[i].method, path)),
				class_name(rows[i].want));
	}
}

static void knows_the_planes(void)
{
	static const struct {
		const char *path;
		bool inference, control_plane;
	} rows[] = {
		{"/inference/v1/chat/completions", true, false},
		{"/inference/v1/responses", true, false},
		{"/inference", false, false},
		{"/inferences/v1", false, false},
		{"/v1/inference/", false, false},
		{"/v1/accounts", false, true},
		{"/v1/accounts/", false, true},
		{"/v1/accounts/a/deployments", false, true},
		{"/v1/accountsx", false, false},
		{"/v1/chat/completions", false, false},
		{"/inference/v1/accounts/a", true, false},
		{"/training/v1/rlorTrainerJobs/a/j", false, false},
		{"/hot_load/v1/models/hot_load", false, false},
		{"/", false, false},
		{"", false, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].path);
		CHECK_INT(path_is_inference(rows[i].path), rows[i].inference);
		CHECK_INT(path_is_control_plane(rows[i].path), rows[i].control_plane);
	}
}

TEST_MAIN(TEST(each_endpoint_has_its_class), TEST(decodes_paths), TEST(decodes_what_fits),
	TEST(no_spelling_evades), TEST(knows_the_planes))
