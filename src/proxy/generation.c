#include "proxy/generation.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/tls.h"
#include "proxy/upstream.h"

static bool same_key(const struct upstream_config *a, const struct upstream_config *b)
{
	if (!a->api_key || !b->api_key)
		return a->api_key == b->api_key;
	return strcmp(a->api_key, b->api_key) == 0;
}

/* What it was before, if it is the same still; or NULL. */
static struct upstream *find(const struct generation *before, const struct upstream_config *config)
{
	for (size_t i = 0; before && i < before->count; i++) {
		const struct upstream_config *old = &before->config->upstreams[i];

		if (str_same(old->name, config->name) &&
			str_same(old->options.url, config->options.url) && same_key(old, config))
			return before->upstreams[i];
	}
	return NULL;
}

static bool open_tls(struct generation *generation, struct str *ret_error)
{
	for (size_t i = 0; i < generation->count; i++) {
		const struct upstream_config *config = &generation->config->upstreams[i];
		_cleanup_str_ struct str error = STR_NULL;

		if (!config->tls)
			continue;
		generation->tls[i] = tls_context_new(config->options.ca_file, &error);
		if (!generation->tls[i]) {
			str_addf(ret_error, "upstream %s: %s", config->name, str_text(&error));
			return false;
		}
	}
	return true;
}

static void open_upstreams(
	struct generation *generation, const struct generation *before, struct event_log *log)
{
	for (size_t i = 0; i < generation->count; i++) {
		const struct upstream_config *config = &generation->config->upstreams[i];
		struct upstream *upstream = find(before, config);

		if (upstream) {
			upstream_configure(upstream, &config->options);
			generation->upstreams[i] = upstream_ref(upstream);
		} else {
			generation->upstreams[i] = upstream_new(config, log);
		}
	}
}

struct generation *generation_new(struct config *config, const struct generation *before,
	struct event_log *log, struct str *ret_error)
{
	struct generation *generation = xcalloc(1, sizeof(*generation));

	generation->config = config_ref(config);
	generation->count = config->upstream_count;
	generation->references = 1;
	generation->tls = xcalloc(generation->count, sizeof(SSL_CTX *));
	generation->upstreams = xcalloc(generation->count, sizeof(struct upstream *));
	if (!open_tls(generation, ret_error)) {
		generation_free(generation);
		return NULL;
	}
	open_upstreams(generation, before, log);
	return generation;
}

struct generation *generation_ref(struct generation *generation)
{
	generation->references++;
	return generation;
}

void generation_unref(struct generation *generation)
{
	generation->references--;
}

bool generation_is_idle(const struct generation *generation)
{
	return generation->references == 1;
}

void generation_free(struct generation *generation)
{
	if (!generation)
		return;
	for (size_t i = 0; i < generation->count; i++) {
		SSL_CTX_free(generation->tls[i]);
		upstream_unref(generation->upstreams[i]);
	}
	free(generation->tls);
	free(generation->upstreams);
	config_unref(generation->config);
	free(generation);
}
