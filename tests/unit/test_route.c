#include "policy/route.h"

#include "test.h"

static const struct {
	const char *target;
	const char *prefix, *rest; /* NULL: no base URL leads here */
	const char *profile;
} targets[] = {
	/* OpenAI's habit, and Fireworks' own: the same */
	{"/v1/chat/completions", "/inference", "/v1/chat/completions", ""},
	{"/inference/v1/chat/completions", "", "/inference/v1/chat/completions", ""},
	{"/v1/models", "/inference", "/v1/models", ""},
	{"/v1/messages?beta=true", "/inference", "/v1/messages?beta=true", ""},
	{"/inference/v1/messages?beta=true", "", "/inference/v1/messages?beta=true", ""},
	{"/v1", "/inference", "/v1", ""},
	{"/v1/", "/inference", "/v1/", ""},
	{"/v1?x=y", "/inference", "/v1?x=y", ""},
	{"/inference/v1", "", "/inference/v1", ""},
	{"/inference/v1?x", "", "/inference/v1?x", ""},
	/* byte for byte: nothing is decoded or folded */
	{"/v1/a%2Fb//c/./d?e=%20", "/inference", "/v1/a%2Fb//c/./d?e=%20", ""},
	/* one /v1 too many */
	{"/v1/v1/chat/completions", "/inference", "/v1/chat/completions", ""},
	{"/v1/v1/messages?x=/v1/v1", "/inference", "/v1/messages?x=/v1/v1", ""},
	{"/v1/v1", "/inference", "/v1", ""},
	{"/v1/v1?x", "/inference", "/v1?x", ""},
	{"/inference/v1/v1/messages", "/inference", "/v1/messages", ""},
	{"/inference/v1/v1", "/inference", "/v1", ""},
	{"/p/agentic/v1/v1/messages", "/inference", "/v1/messages", "agentic"},
	{"/p/agentic/inference/v1/v1/messages", "/inference", "/v1/messages", "agentic"},
	{"/v1/v10/x", "/inference", "/v1/v10/x", ""},
	{"/v1/chat?x=/v1/v1/", "/inference", "/v1/chat?x=/v1/v1/", ""},
	/* the control plane */
	{"/v1/accounts", "", "/v1/accounts", ""},
	{"/v1/accounts?pageSize=2", "", "/v1/accounts?pageSize=2", ""},
	{"/v1/accounts/a/deployments?deploymentId=d", "",
		"/v1/accounts/a/deployments?deploymentId=d", ""},
	{"/v1/accounts/a/models/m:prepare", "", "/v1/accounts/a/models/m:prepare", ""},
	{"/v1/v1/accounts/a", "", "/v1/accounts/a", ""},
	{"/inference/v1/v1/accounts/a", "", "/v1/accounts/a", ""},
	{"/p/batch/v1/accounts/a/batchInferenceJobs", "", "/v1/accounts/a/batchInferenceJobs",
		"batch"},
	{"/v1/accountsx", "/inference", "/v1/accountsx", ""},
	{"/inference/v1/accounts/a", "", "/inference/v1/accounts/a", ""},
	/* the trainer and the hot load */
	{"/training/v1/rlorTrainerJobs/a/j/api/v1/healthz", "",
		"/training/v1/rlorTrainerJobs/a/j/api/v1/healthz", ""},
	{"/training", "", "/training", ""},
	{"/hot_load/v1/models/hot_load?x", "", "/hot_load/v1/models/hot_load?x", ""},
	{"/p/large/training/v1/x", "", "/training/v1/x", "large"},
	{"/p/large/hot_load/v1/x", "", "/hot_load/v1/x", "large"},
	/* a profile in the base URL */
	{"/p/agentic/v1/chat/completions", "/inference", "/v1/chat/completions", "agentic"},
	{"/p/my-own_1/inference/v1/models?x", "", "/inference/v1/models?x", "my-own_1"},
	{"/p/no%20such/v1/models", "/inference", "/v1/models", "no%20such"},
	{"/p/p/v1", "/inference", "/v1", "p"},
	{"/p/v1/v1/v1/models", "/inference", "/v1/models", "v1"},
	{"/p/123456789012345678901234567890123456789012345678901234567890123/v1", "/inference",
		"/v1", "123456789012345678901234567890123456789012345678901234567890123"},
	/* anything else */
	{"", NULL, NULL, NULL},
	{"/", NULL, NULL, NULL},
	{"*", NULL, NULL, NULL},
	{"v1/models", NULL, NULL, NULL},
	{"/V1/models", NULL, NULL, NULL},
	{"/v1x", NULL, NULL, NULL},
	{"/v2/models", NULL, NULL, NULL},
	{"/chat/completions", NULL, NULL, NULL},
	{"/models", NULL, NULL, NULL},
	{"/inference", NULL, NULL, NULL},
	{"/inference/", NULL, NULL, NULL},
	{"/inference/v2/x", NULL, NULL, NULL},
	{"/inference/v1x", NULL, NULL, NULL},
	{"/trainings/v1", NULL, NULL, NULL},
	{"/hot_loads", NULL, NULL, NULL},
	{"/?x=/v1/models", NULL, NULL, NULL},
	{"//v1/models", NULL, NULL, NULL},
	{"/../v1/models", NULL, NULL, NULL},
	{"/favicon.ico", NULL, NULL, NULL},
	{"/healthz", NULL, NULL, NULL},
	{"/p", NULL, NULL, NULL},
	{"/p/", NULL, NULL, NULL},
	{"/p/agentic", NULL, NULL, NULL},
	{"/p/agentic?x", NULL, NULL, NULL},
	{"/p/agentic/", NULL, NULL, NULL},
	{"/p/agentic/x", NULL, NULL, NULL},
	{"/p//v1/models", NULL, NULL, NULL},
	{"/p/?/v1/models", NULL, NULL, NULL},
	{"/p/agentic/p/batch/v1/models", NULL, NULL, NULL},
	{"/p/1234567890123456789012345678901234567890123456789012345678901234/v1", NULL, NULL,
		NULL},
};

static void maps_paths(void)
{
	for (size_t i = 0; i < COUNT_OF(targets); i++) {
		struct target_path got = {.prefix = NULL};

		ROW("%s", targets[i].target);
		if (!CHECK_INT(path_map(targets[i].target, &got), targets[i].rest != NULL) ||
			!targets[i].rest)
			continue;
		CHECK_STR(got.prefix, targets[i].prefix);
		CHECK_STR(got.rest, targets[i].rest);
		CHECK_STR(got.profile, targets[i].profile);
		CHECK(got.rest >= targets[i].target &&
			got.rest <= targets[i].target + strlen(targets[i].target));
	}
}

enum { CHAT, DEDICATED, ANY_CHAT, NAMED, LETTER, LAST, NONE };

static const struct route routes[] = {
	[CHAT] = {"/inference/v1/chat/completions", "accounts/*/deployments/*"},
	[DEDICATED] = {NULL, "*#*"},
	[ANY_CHAT] = {"/inference/v1/chat/*", "*"},
	[NAMED] = {"/v1/accounts/*", NULL},
	[LETTER] = {"/inference/v1/[c-e]?*s", NULL},
	[LAST] = {"/inference/v1/messages", "claude-\\*"},
};

static void finds_the_first_route(void)
{
	static const struct {
		const char *path, *model;
		size_t want;
	} rows[] = {
		{"/inference/v1/chat/completions", "accounts/a/deployments/d", CHAT},
		{"/inference/v1/chat/completions", "accounts/a/b/deployments/d/e", CHAT},
		{"/inference/v1/chat/completions", "accounts/a/models/m", ANY_CHAT},
		{"/inference/v1/chat/completions", "accounts/a/models/m#d", DEDICATED},
		{"/inference/v1/chat/completions", "accounts/a/deployments/", CHAT},
		{"/inference/v1/chat/completions", "xaccounts/a/deployments/d", ANY_CHAT},
		{"/inference/v1/chat/completions", "", ANY_CHAT},
		{"/inference/v1/chat/completions", NULL, LETTER},
		{"/inference/v1/chat/completion", NULL, NONE},
		{"/inference/v1/chat/completionsx", "accounts/a/deployments/d", ANY_CHAT},
		{"/v1/accounts/a/deployments", NULL, NAMED},
		{"/v1/accounts/a/deployments", "m", NAMED},
		{"/v1/accounts/a/deployments", "m#d", DEDICATED},
		{"/v1/accounts", NULL, NONE},
		{"/inference/v1/completions", NULL, LETTER},
		{"/inference/v1/embeddings", NULL, LETTER},
		{"/inference/v1/es", NULL, NONE},
		{"/inference/v1/rerank", NULL, NONE},
		{"/inference/v1/messages", "claude-*", LAST},
		{"/inference/v1/messages", "claude-3", NONE},
		{"/inference/v1/messages", NULL, NONE},
		{"", "", NONE},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s, model %s", rows[i].path, rows[i].model ? rows[i].model : "(none)");
		CHECK_INT(route_find(routes, COUNT_OF(routes), rows[i].path, rows[i].model),
			rows[i].want);
	}
}

static void a_route_without_globs_takes_all(void)
{
	static const struct route all[] = {{NULL, NULL}, {"*", "*"}};

	CHECK_INT(route_find(all, 2, "/inference/v1/models", NULL), 0);
	CHECK_INT(route_find(all, 2, "", ""), 0);
	CHECK_INT(route_find(all + 1, 1, "/x", "m"), 0);
	CHECK_INT(route_find(all + 1, 1, "/x", NULL), 1);
	CHECK_INT(route_find(all, 0, "/x", "m"), 0);
	CHECK_INT(route_find(NULL, 0, "/x", "m"), 0);
}

TEST_MAIN(TEST(maps_paths), TEST(finds_the_first_route), TEST(a_route_without_globs_takes_all))
