/* SRV records of any answer: those that are read have a name that ends, as many as there is room
 * for, and each of them once after they are put in order. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/srv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct srv_record records[SRV_RECORDS_MAX];
    struct rng rng;
    uint64_t before = 0, after = 0;
    size_t count = 0;
    int r = srv_parse(slice_of(data, size), records, SRV_RECORDS_MAX, &count);
    must(r == 0 || r == ERR_PROTO || r == ERR_NOTFOUND);
    must((r == 0) == (count > 0) && count <= SRV_RECORDS_MAX);
    for (size_t i = 0; i < count; i++) {
        must(memchr(records[i].target, 0, sizeof records[i].target) != NULL);
        before += records[i].port * 65536u + records[i].weight;
    }
    rng_init(&rng, size);
    srv_order(records, count, &rng);
    for (size_t i = 0; i < count; i++) {
        must(i == 0 || records[i - 1].priority <= records[i].priority);
        after += records[i].port * 65536u + records[i].weight;
    }
    must(before == after);
    return 0;
}
