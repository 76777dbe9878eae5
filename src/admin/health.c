#include "admin/health.h"

#include "proxy/upstream.h"

int health_live(struct str *out)
{
	str_add(out, "ok\n");
	return 200;
}

static void check_path(struct upstream *upstream, struct str *out)
{
	struct upstream_status status;

	upstream_read_status(upstream, &status);
	if (status.path_lost)
		str_addf(out, "upstream %s: the path is lost%s%s\n", status.name,
			*status.last_error ? ": " : "", status.last_error);
	upstream_status_fini(&status);
}

int health_ready(const struct admin_setup *setup, bool upstream, struct str *out)
{
	if (setup->is_draining(setup->arg))
		str_add(out, "draining\n");
	for (size_t i = 0; upstream && i < setup->upstream_count; i++)
		check_path(setup->upstreams[i], out);
	if (out->len)
		return 503;
	str_add(out, "ready\n");
	return 200;
}
