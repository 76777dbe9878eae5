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
	{"write", "*:executeTrainStep", CLASS_NEVER},
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
	static const char *const names[] = {"replayable", "guarded", "never"};

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

enum request_class class_of(const char *method, const char *path)
{
	size_t i = 0;

	while (!method_matches(rules[i].methods, method) || fnmatch(rules[i].path, path, 0) != 0)
		i++; /* the last rule matches everything */
	return rules[i].request_class;
}

bool path_is_inference(const char *path)
{
	return str_begins(path, "/inference/");
}

bool path_is_control_plane(const char *path)
{
	return str_same(path, "/v1/accounts") || str_begins(path, "/v1/accounts/");
}

static int hex_digit(char c)
{
	char lower = ascii_lower(c);

	if (ascii_is_digit(c))
		return c - '0';
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* One decoded byte; an escape that is none stays as it is. */
static char decode_byte(const char **cursor)
{
	const char *p = *cursor;
	int high = *p == '%' ? hex_digit(p[1]) : -1;
	int low = high >= 0 ? hex_digit(p[2]) : -1;

	*cursor += low >= 0 ? 3 : 1;
	if (low < 0)
		return *p;
	return (char)(high * 16 + low);
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
