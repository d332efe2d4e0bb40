/* The PROXY protocol. The lines are those of its text (doc/proxy-protocol.txt of haproxy, section
 * 2.1), the binary ones are laid out by section 2.2. */
#include <arpa/inet.h>

#include "base/text.h"
#include "codec/proxy_protocol.h"
#include "test.h"

#define SIGNATURE "0d0a0d0a000d0a515549540a"

static struct proxy_header header(enum proxy_family family, const char *source,
                                  const char *destination, uint16_t from, uint16_t to)
{
    struct proxy_header h = { .family = family, .source_port = from, .destination_port = to };
    int af = family == PROXY_TCP4 ? AF_INET : AF_INET6;
    assert_int_equal(inet_pton(af, source, h.source), 1);
    assert_int_equal(inet_pton(af, destination, h.destination), 1);
    return h;
}

static size_t bytes_of(const char *hex, uint8_t *out)
{
    assert_int_equal(hex_decode(slice_str(hex), out), 0);
    return strlen(hex) / 2;
}

/* Reads as `want`, and every prefix asks for more. */
static void check_read(struct slice bytes, const struct proxy_header *want)
{
    void **state_ = NULL;
    struct proxy_header got;
    uint8_t more[PROXY_V2_BYTES_MAX + 1];
    for (size_t i = 0; i < bytes.n; i++)
        CHECK_ERR(ERR_AGAIN, proxy_header_decode(slice_of(bytes.p, i), &got));
    memcpy(more, bytes.p, bytes.n);
    more[bytes.n] = 'G'; /* what follows is not the header's */
    CHECK(proxy_header_decode(slice_of(more, bytes.n + 1), &got) == (int)bytes.n);
    CHECK(memcmp(&got, want, sizeof got) == 0);
}

TEST(a_line_is_the_specifications)
{
    static const struct {
        enum proxy_family family;
        const char *source, *destination;
        uint16_t from, to;
        const char *line;
    } LINES[] = {
        { PROXY_TCP4, "192.168.0.1", "192.168.0.11", 56324, 443,
          "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n" },
        { PROXY_TCP4, "255.255.255.255", "255.255.255.255", 65535, 65535,
          "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n" },
        { PROXY_TCP4, "203.0.113.7", "0.0.0.0", 0, 80, "PROXY TCP4 203.0.113.7 0.0.0.0 0 80\r\n" },
        { PROXY_TCP6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 65535,
          "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n" },
        { PROXY_TCP6, "2001:db8::1", "::", 1, 2, "PROXY TCP6 2001:db8::1 :: 1 2\r\n" },
    };
    uint8_t out[PROXY_OUT_BYTES];
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++) {
        struct proxy_header h = header(LINES[i].family, LINES[i].source, LINES[i].destination,
                                       LINES[i].from, LINES[i].to);
        CHECK_SLICE(slice_of(out, proxy_v1_encode(&h, out)), slice_str(LINES[i].line));
        check_read(slice_str(LINES[i].line), &h);
    }
}

TEST(who_is_not_known_is_told_in_either_version)
{
    struct proxy_header none = { 0 };
    uint8_t out[PROXY_OUT_BYTES], want[64];
    CHECK_SLICE(slice_of(out, proxy_v1_encode(&none, out)), SLICE("PROXY UNKNOWN\r\n"));
    size_t n = bytes_of(SIGNATURE "20000000", want);
    CHECK_SLICE(slice_of(out, proxy_v2_encode(&none, out)), slice_of(want, n));
    check_read(SLICE("PROXY UNKNOWN\r\n"), &none);
    check_read(SLICE("PROXY UNKNOWN ffff::1 nonsense\r\n"), &none);
    check_read(slice_of(want, n), &none);
    /* LOCAL's addresses do not count; neither do those of kinds that are not TCP. */
    n = bytes_of(SIGNATURE "2011000c7f0000017f00000100010002", want);
    check_read(slice_of(want, n), &none);
    n = bytes_of(SIGNATURE "2112000c7f0000017f00000100010002", want);
    check_read(slice_of(want, n), &none);
}

TEST(a_binary_header_is_laid_out_as_the_specification_says)
{
    struct proxy_header four = header(PROXY_TCP4, "203.0.113.7", "10.0.0.1", 56324, 443),
                        six = header(PROXY_TCP6, "2001:db8::1", "::1", 1, 65535);
    uint8_t out[PROXY_OUT_BYTES], want[128];
    size_t n = bytes_of(SIGNATURE "2111000ccb0071070a000001dc0401bb", want);
    CHECK_SLICE(slice_of(out, proxy_v2_encode(&four, out)), slice_of(want, n));
    check_read(slice_of(want, n), &four);
    n = bytes_of(SIGNATURE "21210024"
                           "20010db8000000000000000000000001"
                           "00000000000000000000000000000001"
                           "0001ffff",
                 want);
    CHECK_SLICE(slice_of(out, proxy_v2_encode(&six, out)), slice_of(want, n));
    check_read(slice_of(want, n), &six);
    /* With a TLV behind the addresses, which is skipped. */
    n = bytes_of(SIGNATURE "21110010cb0071070a000001dc0401bb04000101", want);
    check_read(slice_of(want, n), &four);
}

TEST(what_is_no_header_is_refused)
{
    static const char *const LINES[] = {
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    };
    static const char *const BINARY[] = {
        SIGNATURE "31110000",                       /* another version */
        SIGNATURE "22110000",                       /* another command */
        SIGNATURE "2111000b0102030405060708090a0b", /* shorter than its addresses */
        SIGNATURE "21110209",                       /* longer than the bound */
        "0d0a0d0a000d0a515549540b2111000c7f0000017f00000100010002",
    };
    struct proxy_header got;
    uint8_t b[128];
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++)
        if (proxy_header_decode(slice_str(LINES[i]), &got) != ERR_PROTO)
            fail_msg("accepted: %s", LINES[i]);
    for (size_t i = 0; i < sizeof BINARY / sizeof BINARY[0]; i++)
        CHECK_ERR(ERR_PROTO, proxy_header_decode(slice_of(b, bytes_of(BINARY[i], b)), &got));
    char endless[PROXY_V1_BYTES_MAX + 10] = "PROXY UNKNOWN ";
    memset(endless + 14, 'x', sizeof endless - 14);
    CHECK_ERR(ERR_AGAIN, proxy_header_decode(slice_of(endless, PROXY_V1_BYTES_MAX - 1), &got));
    CHECK_ERR(ERR_PROTO, proxy_header_decode(slice_of(endless, PROXY_V1_BYTES_MAX), &got));
}

TESTS(RUN(a_line_is_the_specifications), RUN(who_is_not_known_is_told_in_either_version),
      RUN(a_binary_header_is_laid_out_as_the_specification_says), RUN(what_is_no_header_is_refused))
