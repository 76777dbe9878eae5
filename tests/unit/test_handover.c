#include "app/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "test.h"

/* Two ends, as the old and the new process have them. */
struct wire {
	int from, to;
};

static struct wire wire_new(void)
{
	int ends[2] = {-1, -1};

	CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	return (struct wire){ends[0], ends[1]};
}

static void wire_close(struct wire *wire)
{
	close(wire->from);
	close(wire->to);
}

static void words_arrive(void)
{
	static const enum handover_word words[] = {
		HANDOVER_END, HANDOVER_GO, HANDOVER_DRAIN, HANDOVER_READY};
	struct wire wire = wire_new();
	struct handover_message message;

	for (size_t i = 0; i < COUNT_OF(words); i++)
		CHECK(handover_send(wire.from, words[i], "4711"));
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		handover_receive(wire.to, &message);
		CHECK_INT(message.word, words[i]);
		CHECK_INT(message.number, i == 0 || i == 3 ? 4711 : 0);
	}
	handover_receive(wire.to, &message);
	CHECK_INT(message.word, HANDOVER_NOTHING);
	wire_close(&wire);
}

static void a_listener_arrives_and_is_lent(void)
{
	struct wire wire = wire_new();
	struct handover_message message;
	struct listener listener = {.fd = -1};
	struct address address;

	CHECK(address_parse("127.0.0.1:0", &address));
	CHECK_INT(listen_open(&address, 0600, &listener), 0);
	listener.device = 7; /* as if it had a file */
	listener.inode = 18446744073709551615U;
	CHECK(handover_send_listener(wire.from, HANDOVER_ADMIN, "a text: 127.0.0.1:0", &listener));
	handover_receive(wire.to, &message);
	CHECK_INT(message.word, HANDOVER_ADMIN);
	CHECK_STR(message.text, "a text: 127.0.0.1:0");
	CHECK(message.listener.fd >= 0 && message.listener.fd != listener.fd);
	CHECK(fcntl(message.listener.fd, F_GETFD) & FD_CLOEXEC);
	CHECK(address_same(&message.listener.address, &listener.address));
	CHECK_INT(message.listener.device, 7);
	CHECK(message.listener.inode == listener.inode);
	CHECK(message.listener.lent);
	listen_close(&message.listener);
	listen_close(&listener);
	wire_close(&wire);
}

static void what_nobody_understands_is_the_end(void)
{
	static const char *const wrong[] = {"", " ", "go", "stop ", "GO ", "listener 1 2 text",
		"admin 1 text", "passed x 2 text", "listener -",
		"listener 99999999999999999999 1 t"};

	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		struct wire wire = wire_new();
		struct handover_message message;

		ROW("\"%s\"", wrong[i]);
		CHECK(send(wire.from, wrong[i], strlen(wrong[i]), MSG_NOSIGNAL) >= 0);
		handover_receive(wire.to, &message);
		CHECK_INT(message.word, HANDOVER_CLOSED);
		wire_close(&wire);
	}
}

/* The descriptor that came with it is not kept, either. */
static void a_socket_that_does_not_listen_is_refused(void)
{
	struct wire wire = wire_new();
	struct handover_message message;
	struct listener listener = {.fd = wire.from};
	int free_before = dup(wire.to), free_after;

	close(free_before);
	CHECK(handover_send_listener(wire.from, HANDOVER_LISTENER, "text", &listener));
	handover_receive(wire.to, &message);
	CHECK_INT(message.word, HANDOVER_CLOSED);
	free_after = dup(wire.to);
	CHECK_INT(free_after, free_before);
	close(free_after);
	wire_close(&wire);
}

static void a_message_that_is_too_long_is_refused(void)
{
	struct wire wire = wire_new();
	struct handover_message message;
	_cleanup_str_ struct str text = STR_NULL;

	while (text.len < HANDOVER_MAX_TEXT)
		str_add_char(&text, 'x');
	CHECK(handover_send(wire.from, HANDOVER_GO, str_text(&text)));
	handover_receive(wire.to, &message);
	CHECK_INT(message.word, HANDOVER_CLOSED);
	wire_close(&wire);
}

static void the_end_of_the_socket_is_the_end(void)
{
	struct wire wire = wire_new();
	struct handover_message message;

	close(wire.from);
	CHECK(!handover_send(wire.to, HANDOVER_READY, "1")); /* and no SIGPIPE */
	handover_receive(wire.to, &message);
	CHECK_INT(message.word, HANDOVER_CLOSED);
	close(wire.to);
}

static void a_full_socket_does_not_wait(void)
{
	struct wire wire = wire_new();
	int sent = 0;

	while (sent < 100000 && handover_send(wire.from, HANDOVER_DRAIN, ""))
		sent++;
	CHECK(sent > 0 && sent < 100000);
	CHECK_INT(errno, EAGAIN);
	wire_close(&wire);
}

TEST_MAIN(TEST(words_arrive), TEST(a_listener_arrives_and_is_lent),
	TEST(what_nobody_understands_is_the_end), TEST(a_socket_that_does_not_listen_is_refused),
	TEST(a_message_that_is_too_long_is_refused), TEST(the_end_of_the_socket_is_the_end),
	TEST(a_full_socket_does_not_wait))
