/* SOCKS 5 as its server reads and writes it. The dialogues are those of the reference's recording
 * and of RFC 1928. */
#include "base/text.h"
#include "codec/socks.h"
#include "test.h"

static size_t bytes_of(const char *hex, uint8_t *out)
{
    assert_int_equal(hex_decode(slice_str(hex), out), 0);
    return strlen(hex) / 2;
}

static void check_request(const char *hex, uint8_t command, enum socks_address type,
                          const char *host_hex, uint16_t port)
{
    uint8_t b[300], host[300];
    size_t n = bytes_of(hex, b), host_bytes = bytes_of(host_hex, host);
    struct socks_request q = { 0 };
    void **state_ = NULL;
    CHECK(socks_request_decode(slice_of(b, n), &q) == (int)n);
    CHECK(q.command == command && q.dest.type == type && q.dest.port == port);
    CHECK_SLICE(q.dest.host, slice_of(host, host_bytes));
    for (size_t i = 0; i < n; i++)
        CHECK_ERR(ERR_AGAIN, socks_request_decode(slice_of(b, i), &q));
    b[n] = 0x77; /* what follows is not the request's */
    CHECK(socks_request_decode(slice_of(b, n + 1), &q) == (int)n);
}

TEST(a_request_has_its_address_and_every_prefix_asks_for_more)
{
    (void)state_;
    check_request("050100017f0000018167", 1, SOCKS_IPV4, "7f000001", 0x8167);
    check_request("050200010a0000010000", 2, SOCKS_IPV4, "0a000001", 0);
    check_request("05010003096c6f63616c686f73740050", 1, SOCKS_NAME, "6c6f63616c686f7374", 80);
    check_request("0501000400000000000000000000000000000001ffff", 1, SOCKS_IPV6,
                  "00000000000000000000000000000001", 65535);
}

TEST(the_longest_name_fits_into_the_stated_bound)
{
    uint8_t b[SOCKS_REQUEST_BYTES_MAX] = { 5, 1, 0, 3, 255 }, out[SOCKS_REQUEST_BYTES_MAX];
    struct socks_request q;
    memset(b + 5, 'a', 255);
    CHECK(socks_request_decode(slice_of(b, sizeof b), &q) == SOCKS_REQUEST_BYTES_MAX);
    CHECK(q.dest.host.n == 255);
    CHECK(socks_reply_encode(SOCKS_NOT_ALLOWED, &q.dest, out) == sizeof out);
}

TEST(another_version_and_an_unknown_address_are_refused_at_their_byte)
{
    struct socks_request q;
    bool none;
    CHECK_ERR(ERR_PROTO, socks_request_decode(slice_of("\x04", 1), &q));
    CHECK_ERR(ERR_PROTO, socks_greeting_decode(slice_of("\x04", 1), &none));
    CHECK_ERR(ERR_UNSUPPORTED, socks_request_decode(slice_of("\x05\x01\x00\x02", 4), &q));
    CHECK_ERR(ERR_UNSUPPORTED, socks_request_decode(slice_of("\x05\x01\x00\x00", 4), &q));
    CHECK_ERR(ERR_PROTO, socks_request_decode(slice_of("\x05\x01\x00\x03\x00", 5), &q));
}

TEST(a_greeting_tells_whether_no_authentication_is_offered)
{
    static const uint8_t ALL[] = { 5, 3, 2, 1, 0, 9 }, LOGIN[] = { 5, 1, 2, 0 }, NONE[] = { 5, 0 };
    bool none = false;
    CHECK(socks_greeting_decode(slice_of(ALL, sizeof ALL), &none) == 5 && none);
    CHECK(socks_greeting_decode(slice_of(LOGIN, sizeof LOGIN), &none) == 3 && !none);
    none = true;
    CHECK(socks_greeting_decode(slice_of(NONE, sizeof NONE), &none) == 2 && !none);
    for (size_t i = 0; i < 5; i++)
        CHECK_ERR(ERR_AGAIN, socks_greeting_decode(slice_of(ALL, i), &none));
}

static void check_reply(enum socks_code code, const struct socks_dest *dest, const char *hex)
{
    uint8_t out[SOCKS_REQUEST_BYTES_MAX];
    char text[2 * SOCKS_REQUEST_BYTES_MAX + 1];
    void **state_ = NULL;
    (void)hex_encode(slice_of(out, socks_reply_encode(code, dest, out)), text);
    CHECK_SLICE(slice_str(text), slice_str(hex));
}

TEST(replies_have_the_recorded_bytes)
{
    struct socks_dest v4 = { SOCKS_IPV4, slice_of("\x7f\x00\x00\x01", 4), 0xad8c },
                      name = { SOCKS_NAME, SLICE("a.b"), 443 };
    (void)state_;
    check_reply(SOCKS_GRANTED, &v4, "050000017f000001ad8c");
    check_reply(SOCKS_NOT_ALLOWED, &name, "0502000303612e6201bb");
    check_reply(SOCKS_REFUSED, NULL, "05050001000000000000");
    uint8_t method[2];
    assert_int_equal(socks_method_encode(SOCKS_METHOD_REFUSED, method), 2);
    assert_memory_equal(method, "\x05\xff", 2);
}

TESTS(RUN(a_request_has_its_address_and_every_prefix_asks_for_more),
      RUN(the_longest_name_fits_into_the_stated_bound),
      RUN(another_version_and_an_unknown_address_are_refused_at_their_byte),
      RUN(a_greeting_tells_whether_no_authentication_is_offered),
      RUN(replies_have_the_recorded_bytes))
