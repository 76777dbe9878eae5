#include "policy/breaker.h"

enum { TRIP_AT = 3, FIRST_PAUSE_MS = 500, MAX_PAUSE_MS = 5000 };

bool breaker_may_send(const struct breaker *breaker, msec_t now)
{
	return !breaker_is_paused(breaker) || now >= breaker->probe_at;
}

bool breaker_is_paused(const struct breaker *breaker)
{
	return breaker->state != BREAKER_PASSING;
}

void breaker_begin_probe(struct breaker *breaker, msec_t now)
{
	breaker->state = BREAKER_PROBING;
	breaker->probe_at = now + MAX_PAUSE_MS;
}

void breaker_abandon_probe(struct breaker *breaker, msec_t now)
{
	if (breaker->state != BREAKER_PROBING)
		return; /* another one has told something */
	breaker->state = BREAKER_PAUSED;
	breaker->probe_at = now;
}

/* U(1/2, 1) x min(5 s, 0.5 s x 2^n). */
static void pause_sends(struct breaker *breaker, msec_t now, double random)
{
	msec_t longest = FIRST_PAUSE_MS;

	for (int i = 0; i < breaker->failed_probes && longest < MAX_PAUSE_MS; i++)
		longest *= 2;
	if (longest > MAX_PAUSE_MS)
		longest = MAX_PAUSE_MS;
	breaker->state = BREAKER_PAUSED;
	breaker->probe_at = now + (msec_t)((double)longest * (0.5 + random / 2));
}

enum breaker_change breaker_on_failure(
	struct breaker *breaker, uint64_t request, bool probe, msec_t now, double random)
{
	if (probe && breaker_is_paused(breaker)) {
		breaker->failed_probes++;
		pause_sends(breaker, now, random);
		return BREAKER_SAME;
	}
	if (breaker_is_paused(breaker))
		return BREAKER_SAME; /* it was sent before */
	if (breaker->failures++ == 0)
		breaker->first_request = request;
	else if (request != breaker->first_request)
		breaker->several = true;
	if (breaker->failures < TRIP_AT || !breaker->several)
		return BREAKER_SAME;
	breaker->failed_probes = 0;
	breaker->paused_at = now;
	pause_sends(breaker, now, random);
	return BREAKER_TRIPPED;
}

enum breaker_change breaker_on_success(struct breaker *breaker, bool probe, msec_t now)
{
	bool recovered = breaker_is_paused(breaker);

	if (recovered && !probe)
		return BREAKER_SAME; /* it was sent before */
	if (recovered)
		breaker->paused_ms += now - breaker->paused_at;
	breaker->state = BREAKER_PASSING;
	breaker->failures = 0;
	breaker->several = false;
	return recovered ? BREAKER_RECOVERED : BREAKER_SAME;
}

void breaker_reset(struct breaker *breaker, msec_t now)
{
	breaker_on_success(breaker, true, now);
}

msec_t breaker_paused_ms(const struct breaker *breaker, msec_t now)
{
	return breaker->paused_ms + (breaker_is_paused(breaker) ? now - breaker->paused_at : 0);
}
