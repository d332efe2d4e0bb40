#include "net/srv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "test.h"

#define TRIES 20000

static void record(struct srv_record *r, uint16_t priority, uint16_t weight, const char *target)
{
    *r = (struct srv_record){ .priority = priority, .weight = weight, .port = 7844 };
    (void)snprintf(r->target, sizeof r->target, "%s", target);
}

TEST(records_are_in_the_order_of_their_priorities)
{
    struct rng rng;
    struct srv_record r[4];
    rng_init(&rng, 7);
    for (unsigned i = 0; i < 100; i++) {
        record(&r[0], 30, 9, "d");
        record(&r[1], 10, 1, "a");
        record(&r[2], 20, 0, "c");
        record(&r[3], 10, 5, "b");
        srv_order(r, 4, &rng);
        CHECK(r[0].priority == 10 && r[1].priority == 10);
        CHECK(r[0].target[0] != r[1].target[0]);
        CHECK(r[2].target[0] == 'c' && r[3].target[0] == 'd');
    }
}

TEST(records_of_one_priority_come_first_in_proportion_to_their_weights)
{
    struct rng rng;
    unsigned first[3] = { 0 };
    rng_init(&rng, 7);
    for (unsigned i = 0; i < TRIES; i++) {
        struct srv_record r[3];
        record(&r[0], 1, 60, "a");
        record(&r[1], 1, 30, "b");
        record(&r[2], 1, 0, "c");
        srv_order(r, 3, &rng);
        first[r[0].target[0] - 'a']++;
    }
    CHECK(first[0] > TRIES * 64 / 100 && first[0] < TRIES * 68 / 100);
    CHECK(first[1] > TRIES * 31 / 100 && first[1] < TRIES * 35 / 100);
    CHECK(first[2] > 0 && first[2] < TRIES * 3 / 100);
}

/* Header, the question _e._tcp.t SRV IN, and two answers, whose names and targets end in pointers:
 * as a name server packs them. */
static const uint8_t ANSWER[] = {
    0x12,          0x34, 0x81, 0x80, 0,    1,   0, 2, 0,  0,  0, 0,  2, '_', 'e', 4,
    '_',           't',  'c',  'p',  1,    't', 0, 0, 33, 0,  1,
    /* 27 */ 0xc0, 12,   0,    33,   0,    1,   0, 0, 0,  60, 0, 10, 0, 10,  0,   5,
    0x1e,          0xa4, 1,    'a',  0xc0, 20,
    /* 49 */ 0xc0, 12,   0,    33,   0,    1,   0, 0, 0,  60, 0, 8,  0, 20,  0,   0,
    0x1e,          0xa5, 0xc0, 45
};
#define COUNT  7 /* where the number of answers is */
#define SECOND 49
#define LENGTH 38 /* of the first one's data */
#define TARGET 45

TEST(the_records_of_an_answer_are_read)
{
    struct srv_record r[4];
    size_t count = 0;
    CHECK_OK(srv_parse(slice_of(ANSWER, sizeof ANSWER), r, 4, &count));
    CHECK(count == 2);
    CHECK(r[0].priority == 10 && r[0].weight == 5 && r[0].port == 7844);
    assert_string_equal(r[0].target, "a.t");
    CHECK(r[1].priority == 20 && r[1].weight == 0 && r[1].port == 7845);
    assert_string_equal(r[1].target, "a.t");
    CHECK_OK(srv_parse(slice_of(ANSWER, sizeof ANSWER), r, 1, &count));
    CHECK(count == 1);
}

TEST(every_part_of_an_answer_is_malformed)
{
    uint8_t bytes[sizeof ANSWER];
    struct srv_record r[4];
    size_t count = 9;
    memcpy(bytes, ANSWER, sizeof ANSWER);
    for (size_t cut = 0; cut < sizeof ANSWER; cut++) {
        uint8_t *part = malloc(cut + 1); /* so that a byte too far is seen */
        memcpy(part, bytes, cut);
        CHECK(srv_parse(slice_of(part, cut), r, 4, &count) == ERR_PROTO);
        free(part);
    }
    CHECK(count == 9);
    bytes[LENGTH] = 6; /* a record that ends before its target */
    CHECK(srv_parse(slice_of(bytes, sizeof bytes), r, 4, &count) == ERR_PROTO);
}

TEST(an_answer_without_records_or_of_the_root_alone_says_that_there_is_no_service)
{
    uint8_t bytes[sizeof ANSWER];
    struct srv_record r[4];
    size_t count = 9;
    memcpy(bytes, ANSWER, sizeof ANSWER);
    bytes[COUNT] = 0;
    CHECK(srv_parse(slice_of(bytes, 27), r, 4, &count) == ERR_NOTFOUND);
    bytes[COUNT] = 1;
    CHECK_OK(srv_parse(slice_of(bytes, SECOND), r, 4, &count));
    bytes[LENGTH] = 7;
    bytes[TARGET] = 0;
    CHECK(srv_parse(slice_of(bytes, TARGET + 1), r, 4, &count) == ERR_NOTFOUND);
}

TESTS(RUN(records_are_in_the_order_of_their_priorities),
      RUN(records_of_one_priority_come_first_in_proportion_to_their_weights),
      RUN(the_records_of_an_answer_are_read), RUN(every_part_of_an_answer_is_malformed),
      RUN(an_answer_without_records_or_of_the_root_alone_says_that_there_is_no_service))
