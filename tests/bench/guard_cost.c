/* What the guard costs: one request with a large body, from a socket's end to the answer, through
 * plain evhttp and through the guarded accept, in turns in one process; memcpy() beside it.
 *
 *   build/tests/bench/guard_cost [MIB]     default 1
 *
 * A pass is a whole request and its answer on one kept connection. The bare pass feeds the guard
 * from memory, without a socket and without evhttp. */

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/mem.h"
#include "proxy/accepted.h"
#include "proxy/guard.h"

enum { TURNS = 9, PASSES = 60, PIECE = 16 << 10 };

struct side {
	struct evhttp *http;
	struct accepted_list *list; /* NULL: plain */
	struct budget *memory;
	int fd; /* the client's */
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *times)
{
	qsort(times, TURNS, sizeof(double), by_value);
	return times[TURNS / 2];
}

/* ---- Through a socket: a client in a thread of its own. */

static void on_complete(struct evhttp_request *request, void *arg)
{
	struct accepted *accepted = arg;

	(void)request;
	accepted_next(accepted);
	accepted_release(accepted);
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct side *side = arg;

	if (side->list) {
		struct bufferevent *bev =
			evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
		struct accepted *accepted = accepted_acquire(side->list, bev);
		struct received received = accepted_take(accepted);

		evbuffer_drain(received.body, evbuffer_get_length(received.body));
		budget_give(side->memory, (int64_t)received.reserved);
		evhttp_request_set_on_complete_cb(request, on_complete, accepted);
	}
	evhttp_send_reply(request, 200, "OK", NULL);
}

struct pump {
	int fd, passes;
	const char *bytes;
	size_t len;
	struct event_base *base;
};

static void *pump_run(void *arg)
{
	const struct pump *pump = arg;
	char answer[4096];

	for (int i = 0; i < pump->passes; i++) {
		size_t got = 0;

		for (size_t done = 0; done < pump->len;) {
			ssize_t sent =
				send(pump->fd, pump->bytes + done, pump->len - done, MSG_NOSIGNAL);

			if (sent <= 0)
				abort();
			done += (size_t)sent;
		}
		do {
			ssize_t read = recv(pump->fd, answer + got, sizeof(answer) - 1 - got, 0);

			if (read <= 0)
				abort();
			got += (size_t)read;
			answer[got] = '\0';
		} while (!strstr(answer, "\r\n\r\n"));
	}
	event_base_loopbreak(pump->base);
	return NULL;
}

static void side_listen(struct side *side)
{
	struct evhttp_bound_socket *bound =
		evhttp_bind_socket_with_handle(side->http, "127.0.0.1", 0);
	struct sockaddr_in address;
	socklen_t len = sizeof(address);

	getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &len);
	side->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(side->fd, (struct sockaddr *)&address, len) != 0)
		abort();
}

static double run_side(struct event_base *base, struct side *side, const char *bytes, size_t len)
{
	struct pump pump = {side->fd, PASSES, bytes, len, base};
	pthread_t thread;
	double start = seconds();

	pthread_create(&thread, NULL, pump_run, &pump);
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	pthread_join(thread, NULL);
	return (seconds() - start) / PASSES;
}

/* ---- From memory */

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	(void)input;
	if (info->n_added)
		guard_on_input(arg);
}

static double run_bare(
	struct event_base *base, struct budget *memory, const char *bytes, size_t len)
{
	struct guard_options options = {64 << 10, 1 << 30, 10000, memory};
	struct bufferevent *bev = bufferevent_socket_new(base, -1, 0);
	struct evbuffer *input = bufferevent_get_input(bev);
	struct guard *guard = guard_new(bev, &options);
	double start = seconds();

	evbuffer_add_cb(input, on_input, guard);
	evbuffer_unfreeze(input, 0);
	for (int i = 0; i < PASSES; i++) {
		struct received received;

		for (size_t done = 0; done < len; done += PIECE)
			evbuffer_add(input, bytes + done, len - done < PIECE ? len - done : PIECE);
		evbuffer_drain(input, evbuffer_get_length(input));
		received = guard_take(guard);
		evbuffer_drain(received.body, evbuffer_get_length(received.body));
		budget_give(memory, (int64_t)received.reserved);
		guard_next(guard);
	}
	start = seconds() - start;
	guard_free(guard);
	bufferevent_free(bev);
	return start / PASSES;
}

static double run_copy(const char *bytes, size_t len)
{
	_cleanup_free_ char *copy = xmalloc(len);
	double start = seconds();

	for (int i = 0; i < PASSES; i++) {
		memcpy(copy, bytes, len);
		__asm__ volatile("" : : "r"(copy) : "memory");
	}
	return (seconds() - start) / PASSES;
}

int main(int argc, char **argv)
{
	size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 1) << 20;
	struct event_base *base = event_base_new();
	struct budget memory = {.limit = -1};
	struct side guarded = {.http = evhttp_new(base), .memory = &memory};
	struct side plain = {.http = evhttp_new(base)};
	struct accepted_options options = {.base = base,
		.idle_ms = 60000,
		.guarded = true,
		.guard = {64 << 10, 1 << 30, 60000, &memory}};
	double times[4][TURNS];
	_cleanup_free_ char *bytes = xcalloc(1, size + 256);
	size_t head = (size_t)snprintf(bytes, 256,
		"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", size);

	guarded.list = accepted_list_new(&options);
	evhttp_set_bevcb(guarded.http, accepted_new_bufferevent, guarded.list);
	evhttp_set_gencb(guarded.http, on_request, &guarded);
	evhttp_set_gencb(plain.http, on_request, &plain);
	side_listen(&guarded);
	side_listen(&plain);
	for (int i = 0; i < TURNS; i++) {
		times[0][i] = run_copy(bytes, head + size);
		times[1][i] = run_bare(base, &memory, bytes, head + size);
		times[2][i] = run_side(base, &plain, bytes, head + size);
		times[3][i] = run_side(base, &guarded, bytes, head + size);
	}
	double copy = median(times[0]), bare = median(times[1]), http = median(times[2]),
	       all = median(times[3]);

	printf("%zu MiB, median of %d turns of %d passes\n", size >> 20, TURNS, PASSES);
	printf("memcpy            %8.0f us  %6.1f GB/s\n", copy * 1e6, (double)size / copy / 1e9);
	printf("guard from memory %8.0f us  %6.1f GB/s  %.2f x memcpy\n", bare * 1e6,
		(double)size / bare / 1e9, bare / copy);
	printf("plain evhttp      %8.0f us  %6.1f GB/s\n", http * 1e6, (double)size / http / 1e9);
	printf("guarded evhttp    %8.0f us  %6.1f GB/s  %.2f x plain evhttp\n", all * 1e6,
		(double)size / all / 1e9, all / http);
	evhttp_free(plain.http);
	evhttp_free(guarded.http);
	accepted_list_free(guarded.list);
	event_base_free(base);
	close(plain.fd);
	close(guarded.fd);
	return 0;
}
