#include "policy/client_limit.h"

#include <stddef.h>
#include <string.h>

#include "base/str.h"
#include "policy/header.h"

enum { NODE_MS = 300000, UNKNOWN_MS = 300000 };

static msec_t at_least(msec_t value, msec_t limit)
{
	return value > limit ? value : limit;
}

static msec_t at_most(msec_t value, msec_t limit)
{
	return value < limit ? value : limit;
}

/* MSEC_NEVER: not sent, or no limit that anybody could keep to. */
static msec_t read_seconds(const char *text)
{
	int64_t ms = text ? header_parse_decimal(text, 1000) : -1;

	return ms > 0 ? ms : MSEC_NEVER;
}

/* Is this product of a User-Agent one whose requests go through Node's fetch? */
static bool is_node_product(const char *product, size_t len)
{
	static const char *const names[] = {"node", "node-fetch", "node.js", "undici", "ai"};
	static const char *const beginnings[] = {"ai-sdk", "langchainjs"};
	static const char *const languages[] = {"/js", "/javascript"}; /* of generated SDKs */
	size_t name = 0;

	while (name < len && product[name] != '/')
		name++;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (str_is_nocase(product, name, names[i]))
			return true;
	}
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
		if (str_begins_nocase(product, beginnings[i]))
			return true;
	}
	for (size_t i = 0; i < sizeof(languages) / sizeof(languages[0]); i++) {
		if (str_is_nocase(product + name, len - name, languages[i]))
			return true;
	}
	return false;
}

/* Whole words only: `aiohttp` and `my-node-tool` are others. The brackets of a comment, and the @
 * of a package's scope, are no part of a name. */
static bool is_node_agent(const char *user_agent)
{
	const char *product;
	size_t len;

	while (str_next_element(&user_agent, " ();,@", &product, &len)) {
		if (is_node_product(product, len))
			return true;
	}
	return false;
}

static bool is_node(const struct client_announcement *announced)
{
	return (announced->lang && str_same_nocase(announced->lang, "js")) ||
	       (announced->user_agent && is_node_agent(announced->user_agent));
}

struct client_limits client_limits_of(const struct client_announcement *announced)
{
	msec_t head = read_seconds(announced->timeout);
	msec_t silence = read_seconds(announced->read_timeout);

	if (is_node(announced))
		silence = at_most(silence, NODE_MS); /* undici's, before the head and behind it */
	head = at_most(head, silence);
	if (announced->stream && head == MSEC_NEVER)
		return (struct client_limits){UNKNOWN_MS, UNKNOWN_MS};
	return (struct client_limits){head, silence};
}

msec_t client_limit_answer_ms(msec_t limit_ms)
{
	msec_t margin = at_least(at_most(limit_ms / 10, 2000), 250);

	if (limit_ms == MSEC_NEVER)
		return MSEC_NEVER;
	return at_least(limit_ms - margin, limit_ms / 2);
}

msec_t client_limit_patience_ms(msec_t limit_ms)
{
	msec_t margin = at_least(at_most(limit_ms / 10, 15000), 1000);

	if (limit_ms == MSEC_NEVER)
		return MSEC_NEVER;
	return at_least(limit_ms - margin, limit_ms / 2);
}

msec_t client_limit_filler_ms(msec_t limit_ms)
{
	return at_least(at_most(limit_ms / 3, 15000), 1);
}
