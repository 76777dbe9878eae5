/* Fuzzes what reads header fields and targets: policy/header.h, access.h, client_limit.h, class.h.
 * The input is a list of NUL-ended texts. */

#include "base/clock.h"
#include "fuzz.h"
#include "policy/access.h"
#include "policy/class.h"
#include "policy/client_limit.h"
#include "policy/header.h"
#include "policy/route.h"

static void check_retry_after(const char *a, const char *b)
{
	REQUIRE(header_retry_after_ms(a, NULL, 1700000000000000) >= -1);
	REQUIRE(header_retry_after_ms(a, b, 1700000000000000) >= -1);
	REQUIRE(header_retry_after_ms(NULL, b, 0) >= -1);
	REQUIRE(header_parse_decimal(a, 1000) >= -1);
}

static void check_ratelimit(const char *a, const char *b)
{
	REQUIRE(header_ratelimit_wait_ms(a, NULL, NULL) >= -1);
	REQUIRE(header_ratelimit_wait_ms(NULL, a, b) >= -1);
	REQUIRE(header_ratelimit_wait_ms(a, "0", "7") == 7000 ||
		header_ratelimit_wait_ms(a, "0", "7") == header_ratelimit_wait_ms(a, NULL, NULL));
}

/* What is let in is a name of digits, letters and little else. */
static void check_access(const char *host, const char *origin)
{
	struct access_request asked = {.hosts = 1, .host = host, .local_ip = "192.0.2.1"};
	struct access_rules rules = {.hosts = "gateway.internal other"}, none = {.hosts = NULL};
	enum access access = access_decide(&asked, &rules);

	REQUIRE(access == ACCESS_ALLOWED || access == ACCESS_HOST_INVALID ||
		access == ACCESS_HOST_DENIED);
	REQUIRE(access_status(access) == (access == ACCESS_HOST_INVALID ? 400 : 403));
	if (access == ACCESS_ALLOWED)
		REQUIRE(strspn(host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
				     "Z.:[]") == strlen(host));
	asked.origins = 1;
	asked.origin = origin;
	REQUIRE(access_decide(&asked, &none) != ACCESS_ALLOWED);
	asked.origins = 0;
	asked.origin = NULL;
	asked.hosts = 2;
	REQUIRE(access_decide(&asked, &rules) == ACCESS_HOST_INVALID);
}

static void check_trace(const char *trace)
{
	if (header_is_traceparent(trace))
		REQUIRE(strlen(trace) == 55 && strspn(trace, "0123456789abcdef-") == 55);
}

static void check_limits(const char *timeout, const char *lang, bool stream)
{
	struct client_announcement announced = {timeout, lang, lang, timeout, stream};
	struct client_limits limits = client_limits_of(&announced);

	REQUIRE(limits.first_byte_ms > 0 && limits.silence_ms > 0);
	REQUIRE(client_limit_answer_ms(limits.first_byte_ms) >= 0);
	REQUIRE(client_limit_answer_ms(limits.first_byte_ms) <= limits.first_byte_ms);
	REQUIRE(client_limit_patience_ms(limits.first_byte_ms) <= limits.first_byte_ms);
	REQUIRE(client_limit_filler_ms(limits.silence_ms) <= 15000);
}

static void check_target(const char *target, const char *method)
{
	struct target_path mapped;
	char path[64], created[64];

	if (path_map(target, &mapped))
		REQUIRE(strstr(target, mapped.rest));
	if (!path_decode(target, path, sizeof(path)))
		return;
	REQUIRE(strlen(path) < sizeof(path) && !strstr(path, "/../") && !strstr(path, "/./"));
	class_of(method, path, strchr(target, '?'));
	path_is_control_plane(path);
	class_created_path(path, target, created, sizeof(created));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *a = fuzz_text(&data, &size);
	_cleanup_free_ char *b = fuzz_text(&data, &size);

	check_retry_after(a, b);
	check_ratelimit(a, b);
	check_access(a, b);
	check_trace(a);
	check_limits(a, b, size & 1);
	check_target(a, b);
	header_list_has(a, b);
	header_is_hop_by_hop(a);
	header_is_event_stream(a);
	return 0;
}
