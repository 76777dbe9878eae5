#include "policy/class.h"

#include <fnmatch.h>
#include <string.h>

#include "base/str.h"

/* First match wins. Methods: "read" is GET, HEAD, OPTIONS; "write" the rest; "any" both. In a
 * pattern `*` matches any run of characters, slashes too. */
static const struct {
	const char *methods;
	const char *path;
	enum request_class request_class;
} rules[] = {
	/* The trainer's data plane: a forward pass or an optimiser step must not happen twice, and
	 * its long polls are taken up by their own protocol. */
	{"write", "/training/v1/rlorTrainerJobs/*", CLASS_NEVER},
	{"read", "/training/v1/rlorTrainerJobs/*", CLASS_GUARDED},
	{"write", "*:executeTrainStep*", CLASS_NEVER}, /* a trailing slash does not change it */
	/* Creating a key returns a secret that is shown once. */
	{"write", "/v1/accounts/*/apiKeys*", CLASS_NEVER},
	{"read", "*", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/chat/completions", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/completions", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/embeddings", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/messages", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/messages/count_tokens", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/rerank", CLASS_REPLAYABLE},
	{"POST", "/inference/v1/audio/*", CLASS_REPLAYABLE},
	{"any", "*", CLASS_GUARDED},
};

const char *class_name(enum request_class request_class)
{
	static const char *const names[] = {"replayable", "create_with_id", "guarded", "never"};

	return names[request_class];
}

static bool is_read(const char *method)
{
	return str_same(method, "GET") || str_same(method, "HEAD") || str_same(method, "OPTIONS");
}

static bool method_matches(const char *methods, const char *method)
{
	if (str_same(methods, "any"))
		return true;
	if (str_same(methods, "read"))
		return is_read(method);
	if (str_same(methods, "write"))
		return !is_read(method);
	return str_same(methods, method);
}

/* One decoded byte; an escape that is none stays as it is. */
static char decode_byte(const char **cursor)
{
	const char *p = *cursor;
	int high = *p == '%' ? ascii_hex_digit(p[1]) : -1;
	int low = high >= 0 ? ascii_hex_digit(p[2]) : -1;

	*cursor += low >= 0 ? 3 : 1;
	if (low < 0)
		return *p;
	return (char)(high * 16 + low);
}

/* ---- Creates whose id the client chose: to repeat one makes nothing twice, the second gets a 409
 * (Fireworks' SDK does the same). A create that is not surely one of these is `guarded`. */

static const struct {
	const char *collection, *parameter;
} creates[] = {
	{"batchInferenceJobs", "batchInferenceJobId"},
	{"deployments", "deploymentId"},
	{"dpoJobs", "dpoJobId"},
	{"reinforcementFineTuningJobs", "reinforcementFineTuningJobId"},
	{"rlorTrainerJobs", "rlorTrainerJobId"},
	{"supervisedFineTuningJobs", "supervisedFineTuningJobId"},
	{"users", "userId"},
};

#define UNRESERVED "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

/* The parameter that names what a POST to this collection makes, or NULL. The path goes out again
 * as a target, so that an account that would have to be escaped is none. */
static const char *id_parameter(const char *path)
{
	static const char accounts[] = "/v1/accounts/";
	const char *account = path + strlen(accounts), *collection;

	if (!str_begins(path, accounts))
		return NULL;
	collection = account + strspn(account, UNRESERVED);
	if (collection == account || *collection++ != '/')
		return NULL;
	for (size_t i = 0; i < sizeof(creates) / sizeof(creates[0]); i++) {
		if (str_same(collection, creates[i].collection))
			return creates[i].parameter;
	}
	return NULL;
}

/* One segment of a path wherever it is decoded: nothing that a server leaves out (an escape that is
 * none, a semicolon), and nothing that would lead elsewhere (a slash, a colon, dots only). */
static bool is_id(const char *text, size_t len)
{
	const char *p = text, *end = text + len;
	bool dots = true;

	while (p < end) {
		char c;

		if (!strchr(UNRESERVED "%", *p))
			return false;
		c = decode_byte(&p);
		if ((unsigned char)c < ' ' || strchr("/\\:?#%\x7f", c))
			return false;
		dots &= c == '.';
	}
	return !dots;
}

/* Is this the name of a parameter, once it is decoded? */
static bool is_named(const char *text, size_t len, const char *name)
{
	const char *p = text;

	while (p < text + len && *name) {
		if (decode_byte(&p) != *name++)
			return false;
	}
	return p == text + len && *name == '\0';
}

/* The id in the query of a create; false if it is none, or there are two. */
static bool find_id(const char *path, const char *query, const char **ret_id, size_t *ret_len)
{
	const char *parameter = id_parameter(path), *pair;
	size_t len;
	int count = 0;

	while (parameter && query && str_next_element(&query, "&", &pair, &len)) {
		size_t name = strcspn(pair, "=&");

		name = name < len ? name : len;
		if (!is_named(pair, name, parameter))
			continue;
		count++;
		name += name < len; /* the '=' */
		*ret_id = pair + name;
		*ret_len = len - name;
	}
	return count == 1 && is_id(*ret_id, *ret_len);
}

enum request_class class_of(const char *method, const char *path, const char *query)
{
	const char *id;
	size_t i = 0, len;

	while (!method_matches(rules[i].methods, method) || fnmatch(rules[i].path, path, 0) != 0)
		i++; /* the last rule matches everything */
	if (rules[i].request_class == CLASS_GUARDED && str_same(method, "POST") &&
		find_id(path, query, &id, &len))
		return CLASS_CREATE_WITH_ID;
	return rules[i].request_class;
}

bool class_created_path(const char *path, const char *query, char *ret, size_t size)
{
	size_t collection = strlen(path), len;
	const char *id;

	if (!find_id(path, query, &id, &len) || collection + 1 + len >= size)
		return false;
	memcpy(ret, path, collection);
	ret[collection] = '/';
	memcpy(ret + collection + 1, id, len);
	ret[collection + 1 + len] = '\0';
	return true;
}

bool path_is_inference(const char *path)
{
	return str_begins(path, "/inference/");
}

bool path_is_control_plane(const char *path)
{
	return str_same(path, "/v1/accounts") || str_begins(path, "/v1/accounts/");
}

/* Removes the segment that was just ended if it is empty, "." or ".." (with its parent). */
static size_t fold_segment(char *path, size_t len)
{
	size_t start = len;

	while (start > 0 && path[start - 1] != '/')
		start--;
	if (len - start == 1 && path[start] == '.')
		return start;
	if (len - start == 2 && path[start] == '.' && path[start + 1] == '.') {
		start = start > 1 ? start - 1 : start;
		while (start > 0 && path[start - 1] != '/')
			start--;
		return start > 0 ? start : 1;
	}
	return len;
}

bool path_decode(const char *path, char *ret, size_t size)
{
	size_t len = 0;

	while (*path && *path != '?' && *path != '#') {
		char c = decode_byte(&path);

		if (len + 2 > size || c == '\0')
			return false; /* a NUL would hide what stands behind it */
		if (c == '/') {
			len = fold_segment(ret, len);
			if (len > 0 && ret[len - 1] == '/')
				continue;
		}
		ret[len++] = c;
	}
	len = fold_segment(ret, len);
	ret[len] = '\0';
	return true;
}
