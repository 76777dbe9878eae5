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
	{"GET", "/inference/v1/models/accounts/fireworks/models/m", CLASS_REPLAYABLE},
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
	{"POST", "/inference/v1/workflows/accounts/fireworks/models/flux-kontext-max",
		CLASS_GUARDED},
	{"GET", "/inference/v1/workflows/accounts/fireworks/models/flux-kontext-max/get_result",
		CLASS_REPLAYABLE},
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
	{"GET", ACCOUNT "/deploymentShapes/s/versions/v", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/deployedModels/l", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/evaluators/e:getBuildLogEndpoint", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/evaluators/e:getSourceCodeSignedUrl", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/batchInferenceJobs/j", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/supervisedFineTuningJobs/j", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/reinforcementFineTuningJobs/j", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/dpoJobs/j", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/evaluationJobs/j", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/secrets/s", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/users/u", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/quotas", CLASS_REPLAYABLE},
	{"OPTIONS", ACCOUNT "/deployments", CLASS_REPLAYABLE},
	{"GET", ACCOUNT "/rlorTrainerJobs/j:executeTrainStep", CLASS_REPLAYABLE},
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
	{"POST", ACCOUNT "/dpoJobs", CLASS_GUARDED},
	{"POST", ACCOUNT "/reinforcementFineTuningJobs", CLASS_GUARDED},
	{"POST", ACCOUNT "/evaluatorsV2", CLASS_GUARDED},
	{"POST", ACCOUNT "/evaluators/e:getUploadEndpoint", CLASS_GUARDED},
	{"POST", ACCOUNT "/evaluators/e:validateUpload", CLASS_GUARDED},
	{"PATCH", ACCOUNT "/evaluators/e", CLASS_GUARDED},
	{"POST", ACCOUNT "/datasets/d:getUploadEndpoint", CLASS_GUARDED},
	{"POST", ACCOUNT "/datasets/d:validateUpload", CLASS_GUARDED},
	{"PATCH", ACCOUNT "/datasets/d", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/datasets/d", CLASS_GUARDED},
	{"PATCH", ACCOUNT "/models/m", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/models/m", CLASS_GUARDED},
	{"PATCH", ACCOUNT "/deployedModels/l", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/deployedModels/l", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/batchInferenceJobs/j", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/supervisedFineTuningJobs/j", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/evaluationJobs/j", CLASS_GUARDED},
	{"PATCH", ACCOUNT "/users/u", CLASS_GUARDED},
	{"PATCH", ACCOUNT "/secrets/s", CLASS_GUARDED},
	{"DELETE", ACCOUNT "/secrets/s", CLASS_GUARDED},
	{"PUT", ACCOUNT "/secrets/s", CLASS_GUARDED},
	/* what must not happen twice at all */
	{"POST", ACCOUNT "/users/u/apiKeys", CLASS_NEVER},
	{"POST", ACCOUNT "/users/u/apiKeys:delete", CLASS_NEVER},
	{"POST", ACCOUNT "/apiKeys", CLASS_NEVER},
	{"DELETE", ACCOUNT "/users/u/apiKeys/k", CLASS_NEVER},
	{"POST", ACCOUNT "/rlorTrainerJobs/j:executeTrainStep", CLASS_NEVER},
	{"PUT", ACCOUNT "/rlorTrainerJobs/j:executeTrainStep", CLASS_NEVER},
	{"POST", ACCOUNT "/rlorTrainerJobs/j:executeTrainStep/", CLASS_NEVER},
	{"POST", ACCOUNT "/users/u/apiKeys/", CLASS_NEVER},
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
	{"POST", TRAINER "/", CLASS_NEVER},
	{"POST", "/training/v1/rlorTrainerJobs/acct", CLASS_NEVER},
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
		CHECK_STR(class_name(class_of(endpoints[i].method, endpoints[i].path, NULL)),
			class_name(endpoints[i].want));
		CHECK_STR(class_name(class_of(endpoints[i].method, endpoints[i].path, "")),
			class_name(endpoints[i].want));
	}
	CHECK_STR(class_name(CLASS_REPLAYABLE), "replayable");
	CHECK_STR(class_name(CLASS_CREATE_WITH_ID), "create_with_id");
	CHECK_STR(class_name(CLASS_GUARDED), "guarded");
	CHECK_STR(class_name(CLASS_NEVER), "never");
}

/* ---- Creates whose id stands in the query. */

#define JOBS(collection, parameter)                                                                \
	{                                                                                          \
		"POST", ACCOUNT "/" collection, parameter "=my-id", CLASS_CREATE_WITH_ID,          \
			ACCOUNT "/" collection "/my-id"                                            \
	}

static const struct {
	const char *method, *path, *query;
	enum request_class want;
	const char *created; /* NULL: none */
} creates[] = {
	JOBS("batchInferenceJobs", "batchInferenceJobId"),
	JOBS("deployments", "deploymentId"),
	JOBS("dpoJobs", "dpoJobId"),
	JOBS("reinforcementFineTuningJobs", "reinforcementFineTuningJobId"),
	JOBS("rlorTrainerJobs", "rlorTrainerJobId"),
	JOBS("supervisedFineTuningJobs", "supervisedFineTuningJobId"),
	JOBS("users", "userId"),
	/* wherever in the query it stands */
	{"POST", ACCOUNT "/deployments", "a=b&deploymentId=d-1&skipShapeValidation=true",
		CLASS_CREATE_WITH_ID, ACCOUNT "/deployments/d-1"},
	{"POST", ACCOUNT "/deployments", "&&deploymentId=d&", CLASS_CREATE_WITH_ID,
		ACCOUNT "/deployments/d"},
	{"POST", ACCOUNT "/deployments", "deploymentIds=a&deploymentId=d&DeploymentId=b",
		CLASS_CREATE_WITH_ID, ACCOUNT "/deployments/d"},
	{"POST", "/v1/accounts/my.acct_1~x/deployments", "deploymentId=d", CLASS_CREATE_WITH_ID,
		"/v1/accounts/my.acct_1~x/deployments/d"},
	/* its name may be escaped, and so may it; it stays as it stands */
	{"POST", ACCOUNT "/deployments", "%64eployment%49d=d", CLASS_CREATE_WITH_ID,
		ACCOUNT "/deployments/d"},
	{"POST", ACCOUNT "/deployments", "deploymentId=%64-%c3%A9%20x", CLASS_CREATE_WITH_ID,
		ACCOUNT "/deployments/%64-%c3%A9%20x"},
	{"POST", ACCOUNT "/deployments", "deploymentId=..a", CLASS_CREATE_WITH_ID,
		ACCOUNT "/deployments/..a"},
	{"POST", ACCOUNT "/deployments", "deploymentId=Az09-._~", CLASS_CREATE_WITH_ID,
		ACCOUNT "/deployments/Az09-._~"},
	/* none, or none that counts */
	{"POST", ACCOUNT "/deployments", NULL, CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=&x=y", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "x=deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentid=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentI=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentIdd=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deployment_id=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "%64eploymentI%6=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId%00=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId%3Dd", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "x=y;deploymentId=d", CLASS_GUARDED, NULL},
	/* two: nobody knows which one counts */
	{"POST", ACCOUNT "/deployments", "deploymentId=d&deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=d&deploymentId", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=&deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=d&%64eploymentId=e", CLASS_GUARDED, NULL},
	/* what is no id, or leads elsewhere once it is decoded */
	{"POST", ACCOUNT "/deployments", "deploymentId=a;b", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a+b", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a/b", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a=b", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a#b", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a?b", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a:b", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a\rb", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a\xc3\xa9", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%2Fb", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%5cb", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%3aresume", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%3Fb", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%23b", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%252fb", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%00", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%0d%0ab", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%7f", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=.", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=..", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=%2e.", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=%", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%2", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%2&x=f", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments", "deploymentId=a%zz", CLASS_GUARDED, NULL},
	/* another collection's */
	{"POST", ACCOUNT "/deployments", "dpoJobId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/dpoJobs", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/models", "modelId=m", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/models", "deploymentId=m", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/datasets", "datasetId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/evaluationJobs", "evaluationJobId=e", CLASS_GUARDED, NULL},
	/* a path that is not the collection's */
	{"POST", ACCOUNT "/deployments/", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments/d", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deployments/d:undelete", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/x/deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/Deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/deploymentsx", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT, "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", ACCOUNT "/", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", "/v1/accounts/deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", "/v1/accounts//deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", "/v1/accounts", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", "/v2/accounts/a/deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", "/inference" ACCOUNT "/deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", "/training/v1/serverless", "rlorTrainerJobId=d", CLASS_GUARDED, NULL},
	/* an account that was escaped: it would go out as it is */
	{"POST", "/v1/accounts/a b/deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", "/v1/accounts/a\r\nX:y/deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	{"POST", "/v1/accounts/a?/deployments", "deploymentId=d", CLASS_GUARDED, NULL},
	/* of the other classes none becomes another one */
	{"POST", "/inference/v1/chat/completions", "deploymentId=d", CLASS_REPLAYABLE, NULL},
	{"POST", ACCOUNT "/users/u/apiKeys", "userId=u", CLASS_NEVER, NULL},
	{"POST", ACCOUNT "/rlorTrainerJobs/j:executeTrainStep", "rlorTrainerJobId=j", CLASS_NEVER,
		NULL},
	{"POST", ACCOUNT "/rlorTrainerJobs/j:resume", "rlorTrainerJobId=j", CLASS_GUARDED, NULL},
	{"POST", TRAINER, "rlorTrainerJobId=j", CLASS_NEVER, NULL},
};

static void a_create_may_name_its_id(void)
{
	char target[128];

	for (size_t i = 0; i < COUNT_OF(creates); i++) {
		const char *want = creates[i].created;

		ROW("%s?%s", creates[i].path, creates[i].query ? creates[i].query : "(NULL)");
		CHECK_STR(
			class_name(class_of(creates[i].method, creates[i].path, creates[i].query)),
			class_name(creates[i].want));
		strcpy(target, "untouched");
		CHECK_INT(class_created_path(
				  creates[i].path, creates[i].query, target, sizeof(target)),
			want != NULL);
		CHECK_STR(target, want ? want : "untouched");
	}
}

/* Only a POST makes something in a collection. */
static void only_a_post_creates(void)
{
	static const struct {
		const char *method;
		enum request_class want;
	} rows[] = {
		{"POST", CLASS_CREATE_WITH_ID},
		{"post", CLASS_GUARDED},
		{"PUT", CLASS_GUARDED},
		{"PATCH", CLASS_GUARDED},
		{"DELETE", CLASS_GUARDED},
		{"GET", CLASS_REPLAYABLE},
		{"HEAD", CLASS_REPLAYABLE},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].method);
		CHECK_STR(class_name(class_of(
				  rows[i].method, ACCOUNT "/deployments", "deploymentId=d")),
			class_name(rows[i].want));
	}
}

static void the_created_path_must_fit(void)
{
	static const char want[] = ACCOUNT "/deployments/d-1";
	char target[sizeof(want) + 1];

	for (size_t size = 0; size <= sizeof(target); size++) {
		ROW("%zu bytes", size);
		strcpy(target, "untouched");
		CHECK_INT(class_created_path(
				  ACCOUNT "/deployments", "deploymentId=d-1&x=y", target, size),
			size >= sizeof(want));
		CHECK_STR(target, size >= sizeof(want) ? want : "untouched");
	}
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
			CHECK_STR(class_name(class_of(rows[i].method, path, NULL)),
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

TEST_MAIN(TEST(each_endpoint_has_its_class), TEST(a_create_may_name_its_id),
	TEST(only_a_post_creates), TEST(the_created_path_must_fit), TEST(decodes_paths),
	TEST(decodes_what_fits), TEST(no_spelling_evades), TEST(knows_the_planes))
