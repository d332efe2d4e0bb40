#include "codec/websocket.h"

#include "test.h"

TEST(the_accept_key_is_that_of_the_rfc)
{
    char accept[WEBSOCKET_ACCEPT_BYTES];
    CHECK_OK(websocket_accept_key(SLICE("dGhlIHNhbXBsZSBub25jZQ=="), accept));
    CHECK_SLICE(slice_str(accept), SLICE("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    CHECK_ERR(ERR_INVALID, websocket_accept_key(SLICE(""), accept));
    char key[65];
    memset(key, 'a', sizeof key);
    CHECK_ERR(ERR_INVALID, websocket_accept_key(slice_of(key, 65), accept));
    CHECK_OK(websocket_accept_key(slice_of(key, 64), accept));
}

TEST(a_head_is_read_as_it_was_written)
{
    static const uint64_t LENGTHS[] = { 0, 1, 125, 126, 127, 65535, 65536, INT64_MAX };
    for (size_t i = 0; i < 2 * sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        struct websocket_frame in = { .opcode = WEBSOCKET_BINARY,
                                      .is_final = i % 3 == 0,
                                      .is_masked = i % 2 == 1,
                                      .mask = { 1, 2, 3, 4 },
                                      .length = LENGTHS[i / 2] },
                               out;
        uint8_t bytes[WEBSOCKET_HEAD_BYTES];
        size_t n = websocket_head_encode(&in, bytes);
        for (size_t k = 0; k < n; k++)
            CHECK_ERR(ERR_AGAIN, websocket_head_decode(slice_of(bytes, k), &out));
        CHECK(websocket_head_decode(slice_of(bytes, n), &out) == (int)n);
        CHECK(out.opcode == in.opcode && out.is_final == in.is_final &&
              out.is_masked == in.is_masked);
        CHECK(out.length == in.length && (!in.is_masked || memcmp(out.mask, in.mask, 4) == 0));
    }
}

TEST(a_head_that_breaks_the_rules_is_refused)
{
    static const struct slice BAD[] = {
        SLICE("\xc1\x00"),
        SLICE("\xa1\x00"),
        SLICE("\x91\x00"), /* reserved bits */
        SLICE("\x83\x00"),
        SLICE("\x8b\x00"),
        SLICE("\x8f\x00"), /* reserved opcodes */
        SLICE("\x08\x00"),
        SLICE("\x09\x00"), /* fragmented control frames */
        SLICE("\x88\x7e"),
        SLICE("\x89\x7f"),         /* long ones */
        SLICE("\x82\x7e\x00\x7d"), /* lengths that would fit into less */
        SLICE("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"),
        SLICE("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"),
    };
    struct websocket_frame out;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        CHECK_ERR(ERR_PROTO, websocket_head_decode(BAD[i], &out));
}

TEST(masking_in_pieces_is_masking_at_once)
{
    const uint8_t mask[4] = { 0x11, 0x22, 0x33, 0x44 };
    uint8_t whole[67], pieces[67];
    for (size_t step = 1; step < 20; step++) {
        for (size_t i = 0; i < sizeof whole; i++)
            whole[i] = pieces[i] = (uint8_t)(i * 7);
        websocket_mask(whole, sizeof whole, mask, 0);
        for (size_t i = 0; i < sizeof whole; i++)
            CHECK(whole[i] == ((uint8_t)(i * 7) ^ mask[i % 4]));
        for (size_t at = 0; at < sizeof pieces; at += step) {
            size_t n = sizeof pieces - at < step ? sizeof pieces - at : step;
            websocket_mask(pieces + at, n, mask, at);
        }
        CHECK(memcmp(whole, pieces, sizeof whole) == 0);
    }
}

/* All first and second bytes: a head is taken exactly when RFC 6455 §5.2 allows it. */
TEST(every_pair_of_first_bytes_has_its_verdict)
{
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            uint8_t bytes[14] = { (uint8_t)first, (uint8_t)second, 0, 0, 0, 1 };
            unsigned opcode = first & 15, length = second & 127;
            struct websocket_frame f = { .length = 7 };
            bool is_control = opcode >= 8, is_known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
            bool is_good = (first & 0x70) == 0 && is_known &&
                           (!is_control || ((first & 0x80) != 0 && length <= 125));
            /* The longer lengths here: 0 in two bytes, which is too short for them; 2^32 in eight.
             */
            int size = (length < 126 ? 2 : 10) + (second >= 128 ? 4 : 0);
            int want = is_good && length != 126 ? size : ERR_PROTO;
            CHECK_ERR(want, websocket_head_decode(slice_of(bytes, sizeof bytes), &f));
            if (want == ERR_PROTO) {
                CHECK(f.length == 7); /* untouched */
                continue;
            }
            CHECK(f.opcode == (enum websocket_opcode)opcode && f.is_final == (first >= 128));
            CHECK(f.is_masked == (second >= 128));
            CHECK(f.length == (length < 126 ? length : (uint64_t)1 << 32));
            CHECK(websocket_is_control(f.opcode) == is_control);
        }
}

TEST(lengths_change_their_form_at_their_bounds)
{
    static const struct {
        uint64_t length;
        size_t head;
    } ROWS[] = { { 0, 2 },      { 125, 2 },       { 126, 4 },       { 65535, 4 },
                 { 65536, 10 }, { 1U << 31, 10 }, { INT64_MAX, 10 } };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct websocket_frame f = { .opcode = WEBSOCKET_TEXT, .length = ROWS[i].length };
        uint8_t *exact = malloc(WEBSOCKET_HEAD_BYTES);
        CHECK(websocket_head_encode(&f, exact) == ROWS[i].head);
        f.is_masked = true;
        CHECK(websocket_head_encode(&f, exact) == ROWS[i].head + 4);
        free(exact);
    }
}

TEST(a_bad_head_is_known_by_its_first_bytes)
{
    struct websocket_frame f;
    CHECK_ERR(ERR_AGAIN, websocket_head_decode(SLICE("\xff"), &f));     /* two are needed, */
    CHECK_ERR(ERR_PROTO, websocket_head_decode(SLICE("\xff\xff"), &f)); /* and enough */
    CHECK_ERR(ERR_PROTO, websocket_head_decode(SLICE("\x89\xfe"), &f));
    CHECK_ERR(ERR_PROTO,
              websocket_head_decode(SLICE("\x82\xfe\x00\x01"), &f)); /* before its mask */
}

TESTS(RUN(the_accept_key_is_that_of_the_rfc), RUN(a_head_is_read_as_it_was_written),
      RUN(a_head_that_breaks_the_rules_is_refused), RUN(every_pair_of_first_bytes_has_its_verdict),
      RUN(lengths_change_their_form_at_their_bounds), RUN(a_bad_head_is_known_by_its_first_bytes),
      RUN(masking_in_pieces_is_masking_at_once))
