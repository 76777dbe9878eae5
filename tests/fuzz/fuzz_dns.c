/* Fuzzes net/question.h with a name server's datagram: evdns reads it, and what comes back is
 * sound. The first byte says what of the question is answered truly: its number, its own section.
 */

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "fuzz.h"
#include "net/question.h"

enum { DATAGRAM = 1500, HEADER = 12, TURNS = 4 };

struct asked {
	struct event_base *base;
	struct question *question;
	int family;
};

static void on_answer(void *arg, const struct question_answer *answer)
{
	struct asked *asked = arg;

	asked->question = NULL;
	REQUIRE((answer->code == DNS_ERR_NONE) == (answer->count > 0));
	if (answer->code == DNS_ERR_NONE) {
		size_t size = asked->family == AF_INET ? 4 : 16;
		_cleanup_free_ char *copy = xmalloc(size * answer->count);

		memcpy(copy, answer->addresses, size * answer->count);
		REQUIRE(answer->ttl_ms >= 0);
	}
	REQUIRE(question_code_text(answer->code));
}

static int server_socket(struct address *ret)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	REQUIRE(fd >= 0 && address_from_ip("127.0.0.1", 0, ret));
	ret->len = sizeof(ret->v4);
	REQUIRE(bind(fd, &ret->any, ret->len) == 0 && getsockname(fd, &ret->any, &ret->len) == 0);
	return fd;
}

/* The datagram that goes back: the input, with as much of the question as was asked for. */
static size_t make_reply(
	uint8_t plan, const uint8_t *data, size_t size, uint8_t *packet, size_t asked)
{
	uint8_t question[DATAGRAM];
	size_t len = plan & 2 ? asked : 0;

	memcpy(question, packet, asked);
	if (plan & 2) {
		packet[2] |= 0x80;
		packet[3] = 0x80;
		packet[7] = 1; /* one answer */
	}
	if (size > DATAGRAM - len)
		size = DATAGRAM - len;
	if (size > 0)
		memcpy(packet + len, data, size);
	len += size;
	if (plan & 1 && len >= 2)
		memcpy(packet, question, 2);
	return len;
}

static void answer(int fd, const uint8_t *data, size_t size)
{
	uint8_t packet[2 * DATAGRAM];
	struct address from = {.len = sizeof(from.v6)};
	ssize_t asked = recvfrom(fd, packet, DATAGRAM, 0, &from.any, &from.len);
	size_t len;

	if (asked < HEADER)
		return;
	len = make_reply(data[0], data + 1, size - 1, packet, (size_t)asked);
	(void)!sendto(fd, packet, len, 0, &from.any, from.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct asked asked = {.base = event_base_new()};
	struct address server;
	int fd = server_socket(&server);

	if (size > 1) {
		asked.family = data[0] & 4 ? AF_INET6 : AF_INET;
		asked.question = question_start(
			asked.base, &server, asked.family, "api.fireworks.ai", on_answer, &asked);
		for (int i = 0; i < TURNS && asked.question; i++) {
			event_base_loop(asked.base, EVLOOP_NONBLOCK);
			answer(fd, data, size);
		}
		event_base_loop(asked.base, EVLOOP_NONBLOCK);
		if (asked.question)
			question_cancel(asked.question);
		event_base_loop(asked.base, EVLOOP_NONBLOCK);
		event_base_loop(asked.base, EVLOOP_NONBLOCK);
	}
	close(fd);
	event_base_free(asked.base);
	return 0;
}
