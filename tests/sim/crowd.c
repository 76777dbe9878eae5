/* The upstream's other requests. Each phantom is a ticket as an exchange has one: it asks for a
 * turn, holds its place for a while, says how it went, asks again or leaves. And what stands
 * between tickets and the loops that wait for them: the alarm, and letters, which may take their
 * time. */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alarm.h"
#include "base/mem.h"
#include "proxy/mailbox.h"

#include "sim.h"

enum { MAX_PHANTOMS = 12, MAX_LIVES = 5, MAX_ROUNDS = 8 };

/*   ABSENT --> WAITING --> HOLDING --> PAUSING (it asks again, with the same ticket)   */
enum phantom_state { ABSENT, WAITING, HOLDING, PAUSING };

struct phantom {
	struct ticket ticket;
	struct task task;
	enum phantom_state state;
	size_t lane;
	msec_t granted_at;
	size_t lives;  /* requests that it still makes */
	size_t rounds; /* of the present one */
	bool older;    /* it came before the exchange */
};

struct post {
	struct task task;
	struct letter *letter; /* NULL: none */
	struct phantom *phantom;
	struct passed passed;
	bool is_new;
};

struct mailbox {
	bool unused;
};

static struct {
	struct mailbox own, others;
	struct post posts[MAX_PHANTOMS + 1];
	struct task look;
	struct phantom phantoms[MAX_PHANTOMS];
} crowd;

/* ---- The alarm. */

struct alarm {
	struct task task;
};

static void alarm_on_task(void *arg)
{
	(void)arg;
	upstream_on_time(world->upstream);
}

struct alarm *alarm_new(void)
{
	struct alarm *alarm = xcalloc(1, sizeof(*alarm));

	task_init(&alarm->task, alarm_on_task, alarm);
	return alarm;
}

void alarm_free(struct alarm *alarm)
{
	if (alarm)
		task_stop(&alarm->task);
	free(alarm);
}

void alarm_set(struct alarm *alarm, msec_t due)
{
	if (due == MSEC_NEVER)
		task_stop(&alarm->task);
	else
		task_start(&alarm->task, due - world->now);
}

int alarm_fd(const struct alarm *alarm)
{
	(void)alarm;
	return -1;
}

void alarm_clear(struct alarm *alarm)
{
	(void)alarm;
}

/* ---- Letters. */

struct mailbox *crowd_mailbox(void)
{
	return &crowd.own;
}

static void post_on_task(void *arg)
{
	struct post *post = arg;
	struct letter *letter = post->letter;

	post->letter = NULL;
	letter->posted = false;
	if (!post->phantom)
		check_delivery();
	letter->on_delivery(letter->arg);
}

static struct post *find_post(const struct letter *letter)
{
	for (size_t i = 0; i <= MAX_PHANTOMS; i++) {
		if (crowd.posts[i].letter == letter)
			return &crowd.posts[i];
	}
	return NULL;
}

static struct passed passed_by(const struct phantom *phantom)
{
	return (struct passed){
		.exchange = phantom && !phantom->older && world->queueing.view.waiting,
		.older = crowd_has_older(),
		.younger = crowd_has_younger(),
		.fresher_probe = crowd_has_fresher_probe(),
	};
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
	struct post *post = find_post(NULL);
	msec_t delay = rng_chance(&world->rng, world->scenario->crowd.late_percent)
			       ? rng_between(&world->rng, 1, 40)
			       : 0;

	if (letter->posted)
		return;
	MUST(post && !find_post(letter), "a letter that is under way is posted");
	letter->posted = true;
	post->letter = letter;
	post->phantom = mailbox == &crowd.own ? NULL : letter->arg;
	post->is_new = true;
	post->passed = passed_by(post->phantom);
	world->lag += delay;
	task_start(&post->task, delay);
	task_start_first(&crowd.look); /* the upstream's lock is held now */
}

void mailbox_withdraw(struct mailbox *mailbox, struct letter *letter)
{
	struct post *post = find_post(letter);

	(void)mailbox;
	if (!letter->posted)
		return;
	MUST(post, "a letter is withdrawn that is not under way");
	if (!post->phantom && world->queueing.granted)
		count(COUNT_LEFT_WITH_LETTER);
	task_stop(&post->task);
	post->letter = NULL;
	letter->posted = false;
}

/* Before anything else happens: who was given a place? */
static void crowd_on_look(void *arg)
{
	(void)arg;
	for (size_t i = 0; i <= MAX_PHANTOMS; i++) {
		struct post *post = &crowd.posts[i];

		if (!post->letter || !post->is_new)
			continue;
		post->is_new = false;
		if (!post->phantom) {
			check_letter(&post->passed);
			world_visit("LETTER");
		} else if (ticket_turn(&post->phantom->ticket) == TURN_GO) {
			post->phantom->granted_at = world->now;
			check_grant(&post->phantom->ticket, post->phantom->lane, &post->passed);
		}
	}
}

/* ---- Phantoms. */

static const char *const models[LANES] = {
	"accounts/sim/models/a", "accounts/sim/models/b", "accounts/sim/models/c"};

const char *crowd_model(size_t lane)
{
	return models[lane];
}

static const struct crowd *plan(void)
{
	return &world->scenario->crowd;
}

static msec_t upto(msec_t longest)
{
	msec_t most = rng_chance(&world->rng, 50) ? longest : longest / 20 + 1;

	return rng_between(&world->rng, 0, most);
}

static void leave(struct phantom *phantom)
{
	ticket_fini(&phantom->ticket);
	phantom->state = ABSENT;
	if (--phantom->lives)
		task_start(&phantom->task, upto(plan()->think_ms));
}

static void hold(struct phantom *phantom)
{
	trace("phantom %zu: sent%s", (size_t)(phantom - crowd.phantoms),
		ticket_is_probe(&phantom->ticket) ? ", a probe" : "");
	phantom->state = HOLDING;
	task_start(&phantom->task, upto(plan()->hold_ms));
}

static void ask(struct phantom *phantom)
{
	struct rng *rng = &world->rng;
	msec_t deadline = world->now + 1 + upto(600000);
	enum turn turn = ticket_enter(&phantom->ticket, deadline, rng_chance(rng, 80));
	struct passed passed = passed_by(phantom);

	if (turn == TURN_GO) {
		phantom->granted_at = world->now;
		check_grant(&phantom->ticket, phantom->lane, &passed);
		hold(phantom);
	} else if (turn == TURN_WAIT) {
		phantom->state = WAITING;
		task_start(&phantom->task, upto(plan()->patience_ms));
	} else {
		trace("phantom %zu: refused, %d", (size_t)(phantom - crowd.phantoms), turn);
		leave(phantom);
	}
}

static void phantom_on_turn(void *arg)
{
	struct phantom *phantom = arg;

	MUST(phantom->state == WAITING, "a turn for a phantom that does not wait");
	if (ticket_turn(&phantom->ticket) == TURN_GO)
		hold(phantom);
	else
		leave(phantom);
}

static void begin(struct phantom *phantom)
{
	struct ticket_request asked = {
		.upstream = world->upstream,
		.mailbox = &crowd.others,
		.model = models[phantom->lane],
		.bytes = rng_below(&world->rng, 3000),
		.retry_after_cap_ms = 60000,
		.on_turn = phantom_on_turn,
		.arg = phantom,
	};

	phantom->rounds = 1 + rng_below(&world->rng, MAX_ROUNDS);
	phantom->older = !world->begun;
	ticket_init(&phantom->ticket, &asked);
	budget_earn();
	ask(phantom);
}

/* What the upstream does to a phantom's request. */
static enum outcome weather(void)
{
	static const enum outcome of_storms[] = {
		[STORM_NONE] = OUTCOME_SUCCESS,
		[STORM_THROTTLED] = OUTCOME_THROTTLED,
		[STORM_ERRORS] = OUTCOME_SERVER_ERROR,
		[STORM_UNREACHABLE] = OUTCOME_NOT_CONNECTED,
	};
	msec_t since = world->now - world->began;
	bool lull = plan()->flap_ms && since / plan()->flap_ms % 2;
	bool storms = since < plan()->storm_ms && !lull;

	if (rng_chance(&world->rng, 10))
		return (enum outcome)rng_below(&world->rng, OUTCOME_LOST + 1);
	if (storms && plan()->storm == STORM_SCALING) /* what may close the lane beside it */
		return rng_chance(&world->rng, 30) ? OUTCOME_SERVER_ERROR : OUTCOME_LOST;
	return storms ? of_storms[plan()->storm] : OUTCOME_SUCCESS;
}

static struct report make_report(enum outcome outcome)
{
	static const int statuses[] = {200, 400, 429, 500, 0, 0};
	static const msec_t asks[] = {-1, -1, 0, 500, 2000, 30000, 90000};
	struct report report = {
		.outcome = outcome, .status = statuses[outcome], .retry_after_ms = -1};

	if (outcome == OUTCOME_THROTTLED)
		report.retry_after_ms = RNG_PICK(&world->rng, asks);
	if (outcome == OUTCOME_NOT_CONNECTED)
		failure_set(&report.failure, PHASE_CONNECT, ERROR_CONNECTION_REFUSED, "phantom");
	else if (outcome == OUTCOME_LOST && rng_chance(&world->rng, 50))
		failure_set(&report.failure, PHASE_TLS, ERROR_TLS_CERTIFICATE_ERROR, "phantom");
	else if (outcome == OUTCOME_LOST)
		failure_set(&report.failure, PHASE_BODY, ERROR_CONNECTION_TERMINATED, "phantom");
	return report;
}

/* It may leave without a word. */
static bool tell(struct phantom *phantom)
{
	struct report report = make_report(weather());

	if (rng_chance(&world->rng, 10))
		return false;
	trace("phantom %zu: %d, asks for %lld ms", (size_t)(phantom - crowd.phantoms),
		report.status, (long long)report.retry_after_ms);
	if (report.outcome == OUTCOME_THROTTLED)
		note_throttled(phantom->lane, phantom->granted_at, report.retry_after_ms);
	note_report(phantom->lane, phantom->ticket.arrival, &report,
		(struct probes){phantom->ticket.probes_lane, phantom->ticket.probes_path});
	ticket_report(&phantom->ticket, &report);
	return report.outcome >= OUTCOME_THROTTLED;
}

static void go_on(struct phantom *phantom)
{
	bool again = tell(phantom) && --phantom->rounds > 0;

	if (!again) {
		leave(phantom);
		return;
	}
	ticket_release(&phantom->ticket);
	if (rng_chance(&world->rng, 50)) {
		ask(phantom);
		return;
	}
	phantom->state = PAUSING;
	task_start(&phantom->task, upto(2000));
}

static void phantom_on_task(void *arg)
{
	struct phantom *phantom = arg;

	switch (phantom->state) {
	case ABSENT:
		begin(phantom);
		break;
	case WAITING:
		leave(phantom);
		break;
	case HOLDING:
		go_on(phantom);
		break;
	case PAUSING:
		ask(phantom);
		break;
	}
}

/* ---- What the rules ask. */

bool crowd_has_own_letter(void)
{
	bool has = false;

	for (size_t i = 0; i <= MAX_PHANTOMS; i++)
		has |= crowd.posts[i].letter && !crowd.posts[i].phantom;
	return has;
}

struct share crowd_share(void)
{
	const struct queueing *queueing = &world->queueing;
	struct share share = {0};

	for (size_t i = 0; i < plan()->phantoms; i++) {
		const struct phantom *phantom = &crowd.phantoms[i];
		const struct ticket *ticket = &phantom->ticket;
		bool waits = ticket->lane && ticket->state == TICKET_WAITING;
		bool holds = ticket->lane && ticket->state == TICKET_HOLDING;
		bool told = ticket->reported;
		bool lane = holds && !told &&
			    is_probe_out(phantom->granted_at, queueing->lane_closed_at);
		bool path = holds && !told &&
			    is_probe_out(phantom->granted_at, queueing->path_closed_at);

		share.waiting += waits;
		share.waiting_bytes += waits ? ticket->request.bytes : 0;
		share.in_flight += holds;
		share.lane[phantom->lane].waiting += waits;
		share.lane[phantom->lane].in_flight += holds;
		share.lane[phantom->lane].probes |= lane && ticket->probes_lane;
		share.probes_path |= path && ticket->probes_path;
	}
	return share;
}

static bool waits_beside_us(const struct phantom *phantom)
{
	return phantom->state == WAITING && phantom->lane == OWN_LANE &&
	       phantom->ticket.state == TICKET_WAITING;
}

bool crowd_has_older(void)
{
	bool has = false;

	for (size_t i = 0; i < plan()->phantoms; i++)
		has |= waits_beside_us(&crowd.phantoms[i]) && crowd.phantoms[i].older;
	return has;
}

bool crowd_has_younger(void)
{
	bool has = false;

	for (size_t i = 0; i < plan()->phantoms; i++)
		has |= waits_beside_us(&crowd.phantoms[i]) && !crowd.phantoms[i].older;
	return has;
}

bool crowd_has_fresher_probe(void)
{
	bool once = world->scenario->profile.retry.max_attempts == 1;
	int probes = once ? INT_MAX : world->queueing.probes;
	bool has = false;

	for (size_t i = 0; i < plan()->phantoms; i++)
		has |= waits_beside_us(&crowd.phantoms[i]) && crowd.phantoms[i].ticket.may_probe &&
		       crowd.phantoms[i].ticket.probes < probes;
	return has;
}

/* ---- The whole of it. */

static void crowd_init(void)
{
	memset(&crowd, 0, sizeof(crowd));
	task_init(&crowd.look, crowd_on_look, NULL);
	for (size_t i = 0; i <= MAX_PHANTOMS; i++)
		task_init(&crowd.posts[i].task, post_on_task, &crowd.posts[i]);
}

static void spend_budget(void)
{
	struct phantom *phantom = &crowd.phantoms[0];
	struct ticket_request asked = {.upstream = world->upstream, .model = models[LANES - 1]};

	ticket_init(&phantom->ticket, &asked);
	budget_earn();
	for (bool spent = true; spent;) {
		spent = ticket_spend_retry(&phantom->ticket);
		MUST(budget_spend() == spent, "the retry budget is miscounted");
	}
	ticket_fini(&phantom->ticket);
}

void crowd_begin(void)
{
	MUST(plan()->phantoms <= MAX_PHANTOMS, "too many phantoms");
	crowd_init();
	if (plan()->spent)
		spend_budget();
	for (size_t i = 0; i < plan()->phantoms; i++) {
		struct phantom *phantom = &crowd.phantoms[i];

		task_init(&phantom->task, phantom_on_task, phantom);
		phantom->lane =
			rng_chance(&world->rng, 60) ? OWN_LANE : rng_below(&world->rng, LANES);
		phantom->lives = 1 + rng_below(&world->rng, MAX_LIVES);
		if (rng_chance(&world->rng, 50))
			begin(phantom);
		else
			task_start(&phantom->task, upto(plan()->think_ms));
	}
}

void crowd_end(void)
{
	for (size_t i = 0; i < plan()->phantoms; i++) {
		ticket_fini(&crowd.phantoms[i].ticket);
		crowd.phantoms[i].state = ABSENT;
		task_stop(&crowd.phantoms[i].task);
	}
	for (size_t i = 0; i <= MAX_PHANTOMS; i++)
		MUST(!crowd.posts[i].letter, "a letter for nobody is under way");
	task_stop(&crowd.look);
}
