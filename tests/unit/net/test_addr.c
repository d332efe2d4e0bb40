#include "net/addr.h"

#include <netinet/in.h>
#include <sys/un.h>

#include "test.h"

static const char *shown(const char *text)
{
    static char out[ADDR_TEXT_BYTES];
    struct addr a;
    return addr_parse(slice_str(text), &a) == 0 ? addr_text(&a, out) : "refused";
}

TEST(addresses_with_ports_are_parsed_and_shown)
{
    static const char *const TABLE[][2] = {
        { "127.0.0.1:80", "127.0.0.1:80" },
        { "0.0.0.0:0", "0.0.0.0:0" },
        { "255.255.255.255:65535", "255.255.255.255:65535" },
        { "[::1]:80", "[::1]:80" },
        { "[2001:db8::1]:443", "[2001:db8::1]:443" },
        { "[0:0:0:0:0:0:0:1]:1", "[::1]:1" },
        { ":80", "[::]:80" },
        { "[::ffff:10.1.2.3]:80", "10.1.2.3:80" },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        (void)state_;
        assert_string_equal(shown(TABLE[i][0]), TABLE[i][1]);
    }
}

TEST(what_is_no_address_is_refused)
{
    static const char *const TABLE[] = {
        "",
        "80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:8 ",
        "127.0.0.1:0x50",
        "127.1:80",
        "127.0.0.256:80",
        "localhost:0",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[127.0.0.1]:80",
        "[::1:80",
        "::1]:80",
        "[]:80",
        "[::g]:80",
        " 127.0.0.1:80",
        "1.2.3.4.5:6",
        "127.0.0.1:80:80",
    };
    struct addr a;
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        if (addr_parse(slice_str(TABLE[i]), &a) != ERR_PARSE)
            fail_msg("accepted: %s", TABLE[i]);
    CHECK_ERR(ERR_PARSE, addr_parse(slice_of("127.0.0.1\0:80", 13), &a));
    CHECK_ERR(ERR_PARSE, addr_parse_ip(slice_of("127.0.0.1\0x", 11), 80, &a));
    CHECK_ERR(ERR_PARSE,
              addr_parse_ip(SLICE("1111:2222:3333:4444:5555:6666:7777:8888:9999"), 1, &a));
    char large[200];
    memset(large, '1', sizeof large);
    CHECK_ERR(ERR_PARSE, addr_parse_ip(slice_of(large, sizeof large), 80, &a));
}

TEST(a_failed_parse_leaves_the_result_alone)
{
    struct addr a = { .size = 7 };
    CHECK_ERR(ERR_PARSE, addr_parse(SLICE("nonsense"), &a));
    CHECK(a.size == 7);
}

TEST(a_socket_file_has_a_bounded_path)
{
    struct addr a;
    char text[ADDR_TEXT_BYTES], path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    CHECK_OK(addr_unix(SLICE("/run/x.sock"), &a));
    assert_string_equal(addr_text(&a, text), "unix:/run/x.sock");
    CHECK(addr_port(&a) == 0);
    memset(path, 'p', sizeof path);
    CHECK_OK(addr_unix(slice_of(path, sizeof path - 1), &a));
    CHECK(strlen(addr_text(&a, text)) == 5 + sizeof path - 1);
    CHECK_ERR(ERR_TOOLARGE, addr_unix(slice_of(path, sizeof path), &a));
    CHECK_ERR(ERR_PARSE, addr_unix(SLICE(""), &a));
}

TEST(no_address_is_shown_as_a_dash)
{
    struct addr a = { 0 };
    char text[ADDR_TEXT_BYTES];
    (void)state_;
    assert_string_equal(addr_text(&a, text), "-");
    assert_string_equal(addr_ip_text(&a, text), "");
}

TEST(ports_are_set_and_addresses_compared_with_them)
{
    struct addr a, b, c;
    CHECK_OK(addr_parse(SLICE("10.0.0.1:5"), &a));
    CHECK_OK(addr_parse(SLICE("10.0.0.1:6"), &b));
    CHECK(!addr_eq(&a, &b));
    addr_set_port(&b, 5);
    CHECK(addr_eq(&a, &b) && addr_port(&b) == 5);
    CHECK_OK(addr_parse(SLICE("10.0.0.2:5"), &c));
    CHECK(!addr_eq(&a, &c));
    CHECK_OK(addr_parse(SLICE("[::ffff:10.0.0.1]:5"), &c));
    CHECK(!addr_eq(&a, &c)); /* another family: another socket */
    b = c;
    CHECK(addr_eq(&b, &c));
    ((struct sockaddr_in6 *)(void *)&b.sa)->sin6_scope_id = 3;
    CHECK(!addr_eq(&b, &c));
    CHECK_OK(addr_unix(SLICE("/a"), &a));
    CHECK_OK(addr_unix(SLICE("/a"), &b));
    CHECK(addr_eq(&a, &b));
    CHECK_OK(addr_unix(SLICE("/b"), &b));
    CHECK(!addr_eq(&a, &b));
}

TEST(loopback_and_any_are_told_apart_from_the_rest)
{
    static const struct {
        const char *text;
        bool is_loopback, is_any;
    } TABLE[] = {
        { "127.0.0.1", true, false },
        { "127.255.0.9", true, false },
        { "128.0.0.1", false, false },
        { "0.0.0.0", false, true },
        { "::1", true, false },
        { "::2", false, false },
        { "::ffff:127.0.0.1", true, false },
        { "::ffff:126.0.0.1", false, false },
        { "::", false, true },
        { "::ffff:0.0.0.0", false, true },
        { "0.0.0.1", false, false },
    };
    struct addr a;
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        CHECK_OK(addr_parse_ip(slice_str(TABLE[i].text), 1, &a));
        CHECK(addr_is_loopback(&a) == TABLE[i].is_loopback);
        CHECK(addr_is_any(&a) == TABLE[i].is_any);
    }
    CHECK_OK(addr_unix(SLICE("/a"), &a));
    CHECK(!addr_is_loopback(&a) && !addr_is_any(&a));
}

TESTS(RUN(addresses_with_ports_are_parsed_and_shown), RUN(what_is_no_address_is_refused),
      RUN(a_failed_parse_leaves_the_result_alone), RUN(a_socket_file_has_a_bounded_path),
      RUN(no_address_is_shown_as_a_dash), RUN(ports_are_set_and_addresses_compared_with_them),
      RUN(loopback_and_any_are_told_apart_from_the_rest))
