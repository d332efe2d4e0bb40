#include "codec/http1_chunked.h"

#include "http1_vectors.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct outcome {
    int r;
    enum http1_why why;
    char data[8192];
    size_t n;
    size_t used; /* of the input, at ERR_EOF */
    char trailers[8192];
};

/* Feeds the bytes in pieces of `step`, each in a block of its own. */
static void decode(struct slice bytes, size_t step, struct outcome *ret)
{
    struct arena arena;
    struct http1_chunked c;
    *ret = (struct outcome){ .r = ERR_AGAIN };
    arena_init(&arena, 1 << 20);
    http1_chunked_init(&c, &arena);
    for (size_t at = 0; at < bytes.n && ret->r == ERR_AGAIN; at += step) {
        struct slice piece = slice_sub(bytes, at, step), data;
        uint8_t *copy = malloc(piece.n);
        memcpy(copy, piece.p, piece.n);
        struct slice rest = slice_of(copy, piece.n);
        while ((ret->r = http1_chunked_feed(&c, &rest, &data)) == 0) {
            memcpy(ret->data + ret->n, data.p, data.n);
            ret->n += data.n;
        }
        ret->used = at + piece.n - rest.n;
        free(copy);
        if (step == SIZE_MAX)
            break;
    }
    ret->why = c.why;
    int n = 0;
    for (size_t i = 0; i < c.trailers_count; i++)
        n += snprintf(ret->trailers + n, sizeof ret->trailers - (size_t)n, "%.*s=%.*s;",
                      SLICE_FMT(c.trailers[i].name), SLICE_FMT(c.trailers[i].value));
    arena_done(&arena);
}

TEST(bodies_are_taken_and_refused_as_listed_however_they_are_cut)
{
    static struct outcome out;
    const size_t steps[] = { SIZE_MAX, 1, 2, 3, 7 };
    (void)state_;
    for (size_t i = 0; i < COUNT(BODIES); i++) {
        const struct body_vector *v = &BODIES[i];
        for (size_t k = 0; k < COUNT(steps); k++) {
            decode(v->bytes, steps[k], &out);
            if (out.why != v->why || (out.r == ERR_EOF) != (v->why == HTTP1_WHY_NONE))
                fail_msg("%.*s\ngot %d (%s), want (%s), step %zu", SLICE_FMT(v->bytes), out.r,
                         http1_why_text(out.why), http1_why_text(v->why), steps[k]);
            if (v->data == NULL)
                continue;
            if (!slice_eq(slice_of(out.data, out.n), slice_str(v->data)) ||
                out.used != v->bytes.n || strcmp(out.trailers, v->trailers) != 0)
                fail_msg("%.*s\ngot %s, %s", SLICE_FMT(v->bytes), out.data, out.trailers);
        }
    }
}

TEST(every_prefix_of_a_good_body_asks_for_more)
{
    static struct outcome out;
    for (size_t i = 0; i < COUNT(BODIES); i++)
        for (size_t n = 1; BODIES[i].why == HTTP1_WHY_NONE && n < BODIES[i].bytes.n; n++) {
            decode(slice_of(BODIES[i].bytes.p, n), SIZE_MAX, &out);
            CHECK_ERR(ERR_AGAIN, out.r);
        }
}

TEST(what_follows_the_body_is_left_alone)
{
    static struct outcome out;
    decode(SLICE("1\r\na\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n"), SIZE_MAX, &out);
    CHECK_ERR(ERR_EOF, out.r);
    CHECK(out.used == 17 && out.n == 1);
}

TEST(data_can_be_taken_apart_from_its_framing)
{
    struct http1_chunked c;
    struct arena arena;
    size_t framing;
    arena_init(&arena, 1024);
    http1_chunked_init(&c, &arena);
    CHECK_OK(http1_chunked_next(&c, SLICE("10\r\nabc"), &framing));
    CHECK(framing == 4 && c.left == 16);
    CHECK_OK(http1_chunked_next(&c, SLICE("abc"), &framing));
    CHECK(framing == 0 && c.left == 16);
    http1_chunked_took(&c, 15);
    CHECK_OK(http1_chunked_next(&c, SLICE(""), &framing));
    http1_chunked_took(&c, 1);
    CHECK_ERR(ERR_AGAIN, http1_chunked_next(&c, SLICE("\r\n0\r\n\r"), &framing));
    CHECK(framing == 6);
    CHECK_ERR(ERR_EOF, http1_chunked_next(&c, SLICE("\nx"), &framing));
    CHECK(framing == 1);
    CHECK_ERR(ERR_EOF, http1_chunked_next(&c, SLICE("x"), &framing));
    CHECK(framing == 0);
    arena_done(&arena);
}

TEST(an_error_sticks)
{
    struct http1_chunked c;
    size_t framing;
    http1_chunked_init(&c, NULL);
    CHECK_ERR(ERR_PARSE, http1_chunked_next(&c, SLICE("x\r\n"), &framing));
    CHECK_ERR(ERR_PARSE, http1_chunked_next(&c, SLICE("0\r\n\r\n"), &framing));
    CHECK(framing == 0 && c.why == HTTP1_WHY_CHUNK_SIZE);
}

TEST(the_line_of_a_size_is_bounded)
{
    static struct outcome out;
    static char text[CHUNK_LINE_BYTES_MAX + 100];
    for (int extra = 0; extra < 2; extra++) {
        /* "1;" aaaa "\r\n" */
        size_t n = (size_t)sprintf(text, "1;");
        memset(text + n, 'a', CHUNK_LINE_BYTES_MAX - 4 + (size_t)extra);
        n += CHUNK_LINE_BYTES_MAX - 4 + (size_t)extra;
        n += (size_t)sprintf(text + n, "\r\nx\r\n0\r\n\r\n");
        decode(slice_of(text, n), extra == 0 ? SIZE_MAX : 9, &out);
        CHECK_ERR(extra == 0 ? ERR_EOF : ERR_PARSE, out.r);
        CHECK(extra == 0 || out.why == HTTP1_WHY_CHUNK_LINE_SIZE);
    }
}

TEST(the_trailer_section_is_bounded)
{
    static struct outcome out;
    static char text[TRAILER_BYTES_MAX + 100];
    for (size_t extra = 0; extra < 2; extra++) {
        size_t n = (size_t)sprintf(text, "0\r\nX: ");
        size_t fill = TRAILER_BYTES_MAX - 7 + extra; /* with "X: " and two line ends */
        memset(text + n, 'a', fill);
        n += fill;
        n += (size_t)sprintf(text + n, "\r\n\r\n");
        decode(slice_of(text, n), 1000, &out);
        CHECK_ERR(extra == 0 ? ERR_EOF : ERR_TOOLARGE, out.r);
        CHECK(extra == 0 || out.why == HTTP1_WHY_TRAILER_SIZE);
    }
    for (size_t count = HEAD_FIELDS_MAX; count <= HEAD_FIELDS_MAX + 1; count++) {
        size_t n = (size_t)sprintf(text, "0\r\n");
        for (size_t i = 0; i < count; i++)
            n += (size_t)sprintf(text + n, "a: b\r\n");
        n += (size_t)sprintf(text + n, "\r\n");
        decode(slice_of(text, n), SIZE_MAX, &out);
        CHECK_ERR(count == HEAD_FIELDS_MAX ? ERR_EOF : ERR_TOOLARGE, out.r);
    }
}

TEST(an_arena_that_is_full_ends_the_body)
{
    struct http1_chunked c;
    struct arena arena;
    size_t framing;
    arena_init(&arena, 1);
    http1_chunked_init(&c, &arena);
    CHECK_ERR(ERR_NOMEM, http1_chunked_next(&c, SLICE("0\r\n\r\n"), &framing));
    CHECK_ERR(ERR_NOMEM, http1_chunked_next(&c, SLICE("\r\n"), &framing));
    arena_done(&arena);
}

TEST(the_largest_size_is_taken)
{
    struct http1_chunked c;
    size_t framing;
    http1_chunked_init(&c, NULL);
    CHECK_OK(http1_chunked_next(&c, SLICE("7fffffffffffffff\r\n"), &framing));
    CHECK(c.left == INT64_MAX && framing == 18);
}

TEST(the_line_of_a_chunk_is_read_back)
{
    static const uint64_t SIZES[] = { 1, 9, 10, 15, 16, 255, 256, 16384, 0xfffff, INT64_MAX };
    for (size_t i = 0; i < COUNT(SIZES); i++) {
        uint8_t line[HTTP1_CHUNK_LINE_BYTES];
        size_t n = http1_chunk_line(SIZES[i], line), framing;
        struct http1_chunked c;
        http1_chunked_init(&c, NULL);
        CHECK_OK(http1_chunked_next(&c, slice_of(line, n), &framing));
        CHECK(framing == n && c.left == SIZES[i] && line[0] != '0');
    }
}

TESTS(RUN(bodies_are_taken_and_refused_as_listed_however_they_are_cut),
      RUN(every_prefix_of_a_good_body_asks_for_more), RUN(what_follows_the_body_is_left_alone),
      RUN(data_can_be_taken_apart_from_its_framing), RUN(an_error_sticks),
      RUN(the_line_of_a_size_is_bounded), RUN(the_trailer_section_is_bounded),
      RUN(an_arena_that_is_full_ends_the_body), RUN(the_largest_size_is_taken),
      RUN(the_line_of_a_chunk_is_read_back))
