#include "policy/client_limit.h"

#include "test.h"

enum { WHOLE, STREAM };
enum { MIN5 = 300000 };

#define NEVER MSEC_NEVER
#define AI7   "ai/7.0.173 ai-sdk-provider-utils/5.0.81 node.js/24"

static const struct {
	struct client_announcement announced; /* timeout, read_timeout, lang, user_agent, stream */
	msec_t first_byte_ms, silence_ms;
} rows[] = {
	/* nothing is known */
	{{NULL, NULL, NULL, NULL, WHOLE}, NEVER, NEVER},
	{{NULL, NULL, NULL, NULL, STREAM}, MIN5, MIN5},
	{{NULL, NULL, "python", "curl/7.88.1", WHOLE}, NEVER, NEVER},
	{{NULL, NULL, "python", "curl/7.88.1", STREAM}, MIN5, MIN5},
	{{"", "", "", "", WHOLE}, NEVER, NEVER},
	{{"", "", "", "", STREAM}, MIN5, MIN5},
	/* what the SDKs send */
	{{NULL, "600", "python", "OpenAI/Python 2.54.0", WHOLE}, 600000, 600000},
	{{NULL, "600", "python", "OpenAI/Python 2.54.0", STREAM}, 600000, 600000},
	{{NULL, "600", "python", "AsyncOpenAI/Python 2.54.0", STREAM}, 600000, 600000},
	{{NULL, "60", "python", "Fireworks/Python 1.2.3", STREAM}, 60000, 60000},
	{{NULL, "1.5", "python", "OpenAI/Python 2.54.0", WHOLE}, 1500, 1500},
	{{NULL, NULL, "js", "OpenAI/JS 7.55.0", WHOLE}, MIN5, MIN5},
	{{"90", NULL, "js", "OpenAI/JS 7.55.0", STREAM}, 90000, MIN5},
	{{"600", NULL, "js", "OpenAI/JS 4.104.0", WHOLE}, MIN5, MIN5},
	{{"600", NULL, "js", "Anthropic/JS 1.11.0", STREAM}, MIN5, MIN5},
	{{NULL, NULL, NULL, AI7, STREAM}, MIN5, MIN5},
	{{NULL, NULL, NULL, AI7, WHOLE}, MIN5, MIN5},
	{{NULL, NULL, "js", "langchainjs-openai/1.0.0 ((node/v24.21.0))", WHOLE}, MIN5, MIN5},
	{{NULL, NULL, "js", "Agents/JavaScript 0.20.0", WHOLE}, MIN5, MIN5},
	{{NULL, NULL, NULL, "node", WHOLE}, MIN5, MIN5},
	{{NULL, NULL, NULL, "axios/1.21.1", WHOLE}, NEVER, NEVER},
	{{NULL, NULL, NULL, "axios/1.21.1", STREAM}, MIN5, MIN5},
	{{NULL, NULL, NULL, "python-requests/2.28.1", WHOLE}, NEVER, NEVER},
	{{NULL, NULL, NULL, "Python/3.11 aiohttp/3.8.4", WHOLE}, NEVER, NEVER},
	{{NULL, NULL, NULL, "Go-http-client/1.1", WHOLE}, NEVER, NEVER},
	{{NULL, NULL, NULL, "Java-http-client/17.0.15", WHOLE}, NEVER, NEVER},
	/* the smallest one counts; the time-out ends with the head */
	{{"10", "20", NULL, NULL, WHOLE}, 10000, 20000},
	{{"20", "10", NULL, NULL, WHOLE}, 10000, 10000},
	{{"20", "10", NULL, NULL, STREAM}, 10000, 10000},
	{{"10", NULL, NULL, NULL, WHOLE}, 10000, NEVER},
	{{"10", NULL, NULL, NULL, STREAM}, 10000, NEVER},
	{{"600", NULL, NULL, NULL, STREAM}, 600000, NEVER},
	{{"900", "800", "js", NULL, STREAM}, MIN5, MIN5},
	{{"299.999", "300.001", "js", NULL, STREAM}, 299999, MIN5},
	{{"900", "200", "js", NULL, STREAM}, 200000, 200000},
	{{"900", "800", NULL, NULL, STREAM}, 800000, 800000},
	/* whole, fractional, absurdly large */
	{{"0.25", NULL, NULL, NULL, WHOLE}, 250, NEVER},
	{{"0.0019", NULL, NULL, NULL, WHOLE}, 1, NEVER},
	{{"600.0", NULL, NULL, NULL, WHOLE}, 600000, NEVER},
	{{"1.", NULL, NULL, NULL, WHOLE}, 1000, NEVER},
	{{"99999999999999999999", NULL, "js", NULL, WHOLE}, MIN5, MIN5},
	/* junk counts as not sent */
	{{"0", "0", NULL, NULL, WHOLE}, NEVER, NEVER},
	{{"0", "0.0", NULL, NULL, STREAM}, MIN5, MIN5},
	{{"0.0001", NULL, NULL, NULL, WHOLE}, NEVER, NEVER},
	{{"-1", "-0.5", NULL, NULL, WHOLE}, NEVER, NEVER},
	{{"+1", "1s", NULL, NULL, WHOLE}, NEVER, NEVER},
	{{"1e3", "0x10", NULL, NULL, WHOLE}, NEVER, NEVER},
	{{"inf", "nan", NULL, NULL, WHOLE}, NEVER, NEVER},
	{{"None", "null", NULL, NULL, STREAM}, MIN5, MIN5},
	{{"1,5", "1 2", NULL, NULL, WHOLE}, NEVER, NEVER},
	{{".5", "1.5.5", NULL, NULL, WHOLE}, NEVER, NEVER},
	{{"junk", "20", NULL, NULL, STREAM}, 20000, 20000},
	{{"20", "junk", "js", NULL, STREAM}, 20000, MIN5},
	{{"junk", NULL, "js", NULL, WHOLE}, MIN5, MIN5},
};

static void the_first_that_gives_up_counts(void)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct client_announcement *announced = &rows[i].announced;
		struct client_limits got = client_limits_of(announced);

#define TEXT(text) ((text) ? (text) : "-")
		ROW("%s, %s, %s, %s, %d", TEXT(announced->timeout), TEXT(announced->read_timeout),
			TEXT(announced->lang), TEXT(announced->user_agent), announced->stream);
		CHECK_INT(got.first_byte_ms, rows[i].first_byte_ms);
		CHECK_INT(got.silence_ms, rows[i].silence_ms);
	}
}

/* Which clients stand on Node's fetch. */
static void knows_node(void)
{
	static const struct {
		const char *lang, *user_agent;
		bool node;
	} agents[] = {
		{"js", NULL, true},
		{"JS", NULL, true},
		{"js", "python-requests/2.28.1", true},
		{"python", NULL, false},
		{"java", NULL, false},
		{"json", NULL, false},
		{"go", "Go-http-client/1.1", false},
		{NULL, "node", true},
		{NULL, "Node", true},
		{NULL, "undici", true},
		{NULL, "node-fetch", true},
		{NULL, "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", true},
		{NULL, "node.js/24", true},
		{NULL, "my-tool/1.0 node.js/24", true},
		{NULL, "my-tool/1.0 (node/v20.20.0; linux)", true},
		{NULL, "ai/7.0.173", true},
		{NULL, "my-tool/1.0 ai/5.0.0", true},
		{NULL, "ai-sdk-openai-compatible/3.0.92 node.js/24", true},
		{NULL, "ai-sdk/provider-utils/3.0.0 runtime/x", true},
		{NULL, "my-tool ai-sdk/openai/2.0.0", true},
		{NULL, "@ai-sdk/fireworks/3.0.62", true},
		{NULL, "OpenAI/JS 7.55.0", true},
		{NULL, "AzureOpenAI/JS 7.55.0", true},
		{NULL, "Anthropic/JS 0.137.0", true},
		{NULL, "Agents/JavaScript 0.20.0", true},
		{NULL, "langchainjs-openai/1.0.0", true},
		{NULL, "", false},
		{NULL, " ", false},
		{NULL, "axios/1.21.1", false},
		{NULL, "OpenAI/Python 2.54.0", false},
		{NULL, "Fireworks/Python 1.2.3", false},
		{NULL, "Anthropic/Python 0.60.0", false},
		{NULL, "OpenAI/Java 1.0", false},
		{NULL, "OpenAI/JSON", false},
		{NULL, "Python/3.11 aiohttp/3.8.4", false},
		{NULL, "nodepad/1.0", false},
		{NULL, "my-node/1.0", false},
		{NULL, "anode", false},
		{NULL, "openai/1.0", false},
		{NULL, "my-openai-sdk/1.0", false},
		{NULL, "xai/1.0", false},
		{NULL, "ai", true},
		{NULL, "langchain/0.3", false},
		{NULL, "langchain-openai/0.3", false},
		{NULL, "curl/7.88.1", false},
	};

	for (size_t i = 0; i < COUNT_OF(agents); i++) {
		struct client_announcement announced = {
			.lang = agents[i].lang, .user_agent = agents[i].user_agent};
		struct client_limits got = client_limits_of(&announced);

		ROW("%s, %s", TEXT(agents[i].lang), TEXT(agents[i].user_agent));
		CHECK_INT(got.first_byte_ms, agents[i].node ? MIN5 : NEVER);
		CHECK_INT(got.silence_ms, agents[i].node ? MIN5 : NEVER);
	}
}

/* What andiron does before the client gives up. */
static void is_ahead_of_the_client(void)
{
	static const struct {
		msec_t limit, answer, patience, filler;
	} limits[] = {
		{NEVER, NEVER, NEVER, 15000},
		{600000, 598000, 585000, 15000},
		{300000, 298000, 285000, 15000},
		{150000, 148000, 135000, 15000},
		{149990, 147990, 134991, 15000},
		{60000, 58000, 54000, 15000},
		{45000, 43000, 40500, 15000},
		{44997, 42997, 40498, 14999},
		{30000, 28000, 27000, 10000},
		{20000, 18000, 18000, 6666},
		{19990, 17991, 17991, 6663},
		{10000, 9000, 9000, 3333},
		{9990, 8991, 8990, 3330},
		{5000, 4500, 4000, 1666},
		{2500, 2250, 1500, 833},
		{2490, 2240, 1490, 830},
		{2000, 1750, 1000, 666},
		{1998, 1748, 999, 666},
		{1000, 750, 500, 333},
		{500, 250, 250, 166},
		{400, 200, 200, 133},
		{100, 50, 50, 33},
		{3, 1, 1, 1},
		{1, 0, 0, 1},
	};

	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		ROW("%lld ms", (long long)limits[i].limit);
		CHECK_INT(client_limit_answer_ms(limits[i].limit), limits[i].answer);
		CHECK_INT(client_limit_patience_ms(limits[i].limit), limits[i].patience);
		CHECK_INT(client_limit_filler_ms(limits[i].limit), limits[i].filler);
	}
}

TEST_MAIN(TEST(the_first_that_gives_up_counts), TEST(knows_node), TEST(is_ahead_of_the_client))
