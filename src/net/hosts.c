#include "net/hosts.h"

#include <string.h>

#include "base/str.h"

#define BLANKS   " \t\r\v\f"
#define LINE_END "#\n"

/* The next word of a line; false at its end or at a comment. */
static bool next_word(const char **cursor, const char **ret_word, size_t *ret_len)
{
	const char *word = *cursor + strspn(*cursor, BLANKS);
	size_t len = strcspn(word, BLANKS LINE_END);

	*cursor = word + len;
	*ret_word = word;
	*ret_len = len;
	return len > 0;
}

static size_t without_dot(const char *name, size_t len)
{
	return len > 1 && name[len - 1] == '.' ? len - 1 : len;
}

static bool is_same_name(const char *word, size_t len, const char *name)
{
	size_t want = without_dot(name, strlen(name));

	return without_dot(word, len) == want && strncasecmp(word, name, want) == 0;
}

static bool parse_ip(const char *word, size_t len, unsigned short port, struct address *ret)
{
	char ip[INET6_ADDRSTRLEN];

	if (len >= sizeof(ip))
		return false;
	memcpy(ip, word, len);
	ip[len] = '\0';
	return address_from_ip(ip, port, ret);
}

static bool line_has_name(const char *line, const char *name)
{
	const char *word;
	size_t len;

	while (next_word(&line, &word, &len)) {
		if (is_same_name(word, len, name))
			return true;
	}
	return false;
}

static const char *next_line(const char *text)
{
	const char *end = strchrnul(text, '\n');

	return *end ? end + 1 : end;
}

bool hosts_next(
	const char **cursor, const char *name, unsigned short port, struct address *ret_address)
{
	while (**cursor) {
		const char *line = *cursor;
		const char *word;
		size_t len;

		*cursor = next_line(line);
		if (next_word(&line, &word, &len) && line_has_name(line, name) &&
			parse_ip(word, len, port, ret_address))
			return true;
	}
	return false;
}
