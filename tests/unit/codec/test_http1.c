#include "codec/http1.h"

#include "base/arena.h"
#include "base/buf.h"
#include "codec/http1_framing.h"
#include "codec/http1_write.h"
#include "http1_vectors.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct http1_field lines[HEAD_FIELDS_MAX];
static const struct http1_limits LIMITS = { .head_bytes_max = HEAD_BYTES_MAX,
                                            .target_bytes_max = TARGET_BYTES_MAX };

/* Parses bytes that come in steps, each time in a block of their own that ends where they do. */
static int parse_in_steps(struct slice bytes, size_t step, bool is_request, struct http1_head *head,
                          uint8_t **ret_copy)
{
    int r = ERR_AGAIN;
    http1_head_init(head, lines, COUNT(lines));
    *ret_copy = NULL;
    for (size_t n = 0; r == ERR_AGAIN;) {
        n = bytes.n - n < step ? bytes.n : n + step;
        free(*ret_copy);
        *ret_copy = malloc(n > 0 ? n : 1);
        memcpy(*ret_copy, bytes.p, n);
        struct slice part = slice_of(*ret_copy, n);
        r = is_request ? http1_parse_request(part, &LIMITS, head)
                       : http1_parse_response(part, &LIMITS, head);
        if (n == bytes.n)
            break;
    }
    return r;
}

static int why_of(struct slice bytes, size_t step, bool is_request, enum http1_why *ret)
{
    struct http1_head head;
    struct http1_framing framing;
    uint8_t *copy;
    int r = parse_in_steps(bytes, step, is_request, &head, &copy);
    if (r > 0 && is_request)
        r = http1_request_framing(&head, &framing);
    else if (r > 0)
        r = http1_response_framing(&head, (struct http1_asked){ .head = false }, &framing);
    *ret = head.why;
    free(copy);
    return r;
}

static void check_vectors(const struct head_vector *vectors, size_t count, bool is_request)
{
    for (size_t i = 0; i < count; i++) {
        const struct head_vector *v = &vectors[i];
        const size_t steps[] = { SIZE_MAX, 1, 2, 7 };
        for (size_t k = 0; k < COUNT(steps); k++) {
            enum http1_why why;
            int r = why_of(v->bytes, steps[k], is_request, &why);
            if (why != v->why || (r == 0) != (v->why == HTTP1_WHY_NONE))
                fail_msg("%.*s\ngot %d (%s), want (%s), step %zu", SLICE_FMT(v->bytes), r,
                         http1_why_text(why), http1_why_text(v->why), steps[k]);
        }
    }
}

TEST(requests_are_taken_and_refused_as_listed_however_they_are_cut)
{
    (void)state_;
    check_vectors(REQUESTS, COUNT(REQUESTS), true);
}

TEST(responses_are_taken_and_refused_as_listed_however_they_are_cut)
{
    (void)state_;
    check_vectors(RESPONSES, COUNT(RESPONSES), false);
}

TEST(every_prefix_of_a_good_head_asks_for_more)
{
    for (size_t i = 0; i < COUNT(REQUESTS); i++) {
        struct slice bytes = REQUESTS[i].bytes;
        if (REQUESTS[i].why != HTTP1_WHY_NONE)
            continue;
        for (size_t n = 0; n < bytes.n; n++) {
            struct http1_head head;
            http1_head_init(&head, lines, COUNT(lines));
            CHECK_ERR(ERR_AGAIN, http1_parse_request(slice_of(bytes.p, n), &LIMITS, &head));
        }
    }
}

TEST(a_request_is_taken_apart_in_place)
{
    struct slice bytes =
        SLICE("\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nEmpty:\r\nTab: \t a\tb \r\n\r\nnext");
    struct http1_head head;
    http1_head_init(&head, lines, COUNT(lines));
    CHECK(http1_parse_request(bytes, &LIMITS, &head) == (int)bytes.n - 4);
    CHECK_SLICE(head.method, SLICE("POST"));
    CHECK_SLICE(head.target, SLICE("/a?b"));
    CHECK_SLICE(head.path, SLICE("/a?b"));
    CHECK(head.minor == 1 && head.form == HTTP1_ORIGIN && head.fields_count == 3);
    CHECK(head.fields[0].known == HTTP1_HOST && http1_field_of(&head, HTTP1_HOST) == head.fields);
    CHECK_SLICE(head.fields[1].value, SLICE(""));
    CHECK_SLICE(head.fields[2].name, SLICE("Tab"));
    CHECK_SLICE(head.fields[2].value, SLICE("a\tb"));
    CHECK(head.fields[2].value.p > bytes.p && head.fields[2].value.p < bytes.p + bytes.n);
    CHECK(http1_field_of(&head, HTTP1_TE) == NULL);
}

TEST(a_status_line_gives_code_and_reason)
{
    struct slice bytes = SLICE("HTTP/1.0 404 Not Found\r\n\r\n");
    struct http1_head head;
    http1_head_init(&head, lines, COUNT(lines));
    CHECK(http1_parse_response(bytes, &LIMITS, &head) == (int)bytes.n);
    CHECK(head.status == 404 && head.minor == 0);
    CHECK_SLICE(head.reason, SLICE("Not Found"));
}

TEST(an_absolute_target_is_split_and_its_authority_counts)
{
    struct slice bytes = SLICE("GET http://b.c:81/x?y HTTP/1.1\r\nHost: B.c:81\r\n\r\n");
    struct http1_head head;
    struct http1_framing framing;
    http1_head_init(&head, lines, COUNT(lines));
    CHECK(http1_parse_request(bytes, &LIMITS, &head) > 0);
    CHECK_OK(http1_request_framing(&head, &framing));
    CHECK(head.form == HTTP1_ABSOLUTE);
    CHECK_SLICE(head.scheme, SLICE("http"));
    CHECK_SLICE(head.path, SLICE("/x?y"));
    CHECK_SLICE(framing.host, SLICE("b.c:81"));
    bytes = SLICE("OPTIONS http://b HTTP/1.1\r\nHost: other\r\n\r\n");
    http1_head_init(&head, lines, COUNT(lines));
    CHECK(http1_parse_request(bytes, &LIMITS, &head) > 0);
    CHECK_SLICE(head.path, SLICE("*"));
}

/* A head of `n` bytes in all, with one field that fills it. */
static struct slice head_of(size_t n, char *space)
{
    static const char START[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    memset(space, 'x', n);
    memcpy(space, START, sizeof START - 1);
    memcpy(space + n - 4, "\r\n\r\n", 4);
    return slice_of(space, n);
}

TEST(a_head_may_be_as_large_as_its_limit_and_no_larger)
{
    static char space[HEAD_BYTES_MAX + 1];
    struct http1_head head;
    uint8_t *copy;
    CHECK(parse_in_steps(head_of(HEAD_BYTES_MAX, space), SIZE_MAX, true, &head, &copy) ==
          HEAD_BYTES_MAX);
    free(copy);
    const size_t steps[] = { SIZE_MAX, 5000 };
    for (size_t i = 0; i < COUNT(steps); i++) {
        struct slice bytes = head_of(HEAD_BYTES_MAX + 1, space);
        CHECK_ERR(ERR_TOOLARGE, parse_in_steps(bytes, steps[i], true, &head, &copy));
        CHECK(head.why == HTTP1_WHY_HEAD_SIZE);
        free(copy);
    }
}

TEST(a_target_past_its_limit_is_refused_before_its_end_is_seen)
{
    static char space[TARGET_BYTES_MAX + 200];
    struct http1_head head;
    uint8_t *copy;
    for (size_t size = TARGET_BYTES_MAX; size < TARGET_BYTES_MAX + 100; size += 33) {
        int n = sprintf(space, "GET /");
        memset(space + n, 'a', size - 1);
        n += (int)size - 1;
        n += sprintf(space + n, " HTTP/1.1\r\nHost: a\r\n\r\n");
        int want = size == TARGET_BYTES_MAX ? n : ERR_TOOLARGE;
        CHECK(parse_in_steps(slice_of(space, (size_t)n), SIZE_MAX, true, &head, &copy) == want);
        free(copy);
        CHECK(parse_in_steps(slice_of(space, (size_t)n), 1000, true, &head, &copy) == want);
        CHECK(want > 0 || head.why == HTTP1_WHY_TARGET_SIZE);
        free(copy);
    }
    memset(space, 'a', sizeof space);
    http1_head_init(&head, lines, COUNT(lines));
    CHECK_ERR(ERR_TOOLARGE, http1_parse_request(slice_of(space, sizeof space), &LIMITS, &head));
}

TEST(as_many_fields_as_the_array_has_are_taken)
{
    static char space[8192];
    for (size_t count = HEAD_FIELDS_MAX; count <= HEAD_FIELDS_MAX + 1; count++) {
        int n = sprintf(space, "GET / HTTP/1.1\r\nHost: a\r\n");
        for (size_t i = 1; i < count; i++)
            n += sprintf(space + n, "X: y\r\n");
        n += sprintf(space + n, "\r\n");
        struct http1_head head;
        uint8_t *copy;
        int r = parse_in_steps(slice_of(space, (size_t)n), SIZE_MAX, true, &head, &copy);
        free(copy);
        if (count == HEAD_FIELDS_MAX) {
            CHECK(r == n && head.fields_count == HEAD_FIELDS_MAX);
        } else {
            CHECK_ERR(ERR_LIMIT, r);
            CHECK(head.why == HTTP1_WHY_FIELD_COUNT && http1_why_status(head.why) == 431);
        }
    }
}

TEST(a_bad_head_is_refused_before_its_end_is_seen)
{
    static char space[8192];
    struct http1_head head;
    http1_head_init(&head, lines, COUNT(lines));
    CHECK_ERR(ERR_PARSE, http1_parse_request(SLICE("GET / HTTP/1.1\nH"), &LIMITS, &head));
    CHECK(head.why == HTTP1_WHY_LINE_END);
    http1_head_init(&head, lines, COUNT(lines));
    CHECK_ERR(ERR_PARSE, http1_parse_request(SLICE("\x16"), &LIMITS, &head));
    http1_head_init(&head, lines, COUNT(lines));
    CHECK_ERR(ERR_PARSE, http1_parse_response(SLICE("S"), &LIMITS, &head));
    int n = sprintf(space, "GET / HTTP/1.1\r\n");
    for (size_t i = 0; i < HEAD_FIELDS_MAX; i++)
        n += sprintf(space + n, "X: y\r\n");
    http1_head_init(&head, lines, COUNT(lines));
    CHECK_ERR(ERR_AGAIN, http1_parse_request(slice_of(space, (size_t)n), &LIMITS, &head));
    n += sprintf(space + n, "X: y\r\n");
    CHECK_ERR(ERR_LIMIT, http1_parse_request(slice_of(space, (size_t)n), &LIMITS, &head));
}

TEST(the_table_finds_every_name_in_any_case)
{
    static const struct slice NAMES[] = {
#define X(id, text, marks) SLICE(text),
        HTTP1_NAME_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < COUNT(NAMES); i++) {
        char upper[64];
        for (size_t k = 0; k < NAMES[i].n; k++) {
            uint8_t c = NAMES[i].p[k];
            upper[k] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
        }
        CHECK(http1_name_of(NAMES[i]) == (enum http1_name)(i + 1));
        CHECK(http1_name_of(slice_of(upper, NAMES[i].n)) == (enum http1_name)(i + 1));
        upper[0] ^= 0x02;
        CHECK(http1_name_of(slice_of(upper, NAMES[i].n)) != (enum http1_name)(i + 1));
    }
    CHECK(http1_name_of(SLICE("x")) == HTTP1_OTHER);
    CHECK(http1_name_of(SLICE("")) == HTTP1_OTHER);
    CHECK(http1_name_of(SLICE("sec-websocket-versions")) == HTTP1_OTHER);
    CHECK(http1_name_of(SLICE("\x0eost")) == HTTP1_OTHER);
}

TEST(every_byte_is_a_value_or_not_at_every_place_of_a_word)
{
    for (unsigned c = 0; c < 256; c++) {
        bool is_value = c == '\t' || (c >= 0x20 && c != 0x7f);
        for (size_t at = 0; at < 20; at++) {
            uint8_t text[20];
            memset(text, 0x80, sizeof text);
            text[at] = (uint8_t)c;
            CHECK(http1_is_value(slice_of(text, sizeof text)) == is_value);
        }
    }
}

TESTS(RUN(requests_are_taken_and_refused_as_listed_however_they_are_cut),
      RUN(responses_are_taken_and_refused_as_listed_however_they_are_cut),
      RUN(every_prefix_of_a_good_head_asks_for_more), RUN(a_request_is_taken_apart_in_place),
      RUN(a_status_line_gives_code_and_reason),
      RUN(an_absolute_target_is_split_and_its_authority_counts),
      RUN(a_head_may_be_as_large_as_its_limit_and_no_larger),
      RUN(a_target_past_its_limit_is_refused_before_its_end_is_seen),
      RUN(as_many_fields_as_the_array_has_are_taken),
      RUN(a_bad_head_is_refused_before_its_end_is_seen),
      RUN(the_table_finds_every_name_in_any_case),
      RUN(every_byte_is_a_value_or_not_at_every_place_of_a_word))
