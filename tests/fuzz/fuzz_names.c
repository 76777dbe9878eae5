/* Fuzzes net/hosts.h and net/nameservers.h with the text of their files. */

#include "fuzz.h"
#include "net/hosts.h"
#include "net/nameservers.h"

static void check_hosts(const char *text, const char *name)
{
	const char *cursor = text, *before = text;
	struct address address;

	while (hosts_next(&cursor, name, 7, &address)) {
		REQUIRE(cursor > before && cursor <= text + strlen(text));
		REQUIRE(address_port(&address) == 7);
		before = cursor;
	}
}

static void check_servers(const char *text)
{
	struct nameservers servers;
	char shown[ADDRESS_TEXT_SIZE];

	nameservers_parse(text, &servers);
	REQUIRE(servers.count >= 1 && servers.count <= NAMESERVERS_MAX);
	for (size_t i = 0; i < servers.count; i++) {
		REQUIRE(address_port(&servers.list[i]) != 0);
		address_render(&servers.list[i], shown, sizeof(shown));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *name = fuzz_text(&data, &size);
	_cleanup_free_ char *text = fuzz_text(&data, &size);

	check_hosts(text, name);
	check_servers(text);
	return 0;
}
