/* How a hostname is shared, as a client of the API says it: what is taken is in its bounds, and is
 * the same when it is written and read again. A refusal has words. */
#include <stdlib.h>

#include "model/balance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct balance *b)
{
    struct balance again;
    struct strb text;
    json_t *value = balance_json(b), *parsed = NULL;
    strb_init(&text, BALANCE_TEXT_BYTES);
    json_write(&text, value);
    if (b->weight_count > BALANCE_WEIGHTS_MAX || b->rest > BALANCE_WEIGHT_MAX || text.err != 0 ||
        json_parse(strb_slice(&text), &parsed, NULL) < 0 || balance_read(parsed, &again, NULL) < 0)
        abort();
    if (again.policy != b->policy || again.affinity != b->affinity ||
        again.affinity_ttl != b->affinity_ttl || again.weight_count != b->weight_count ||
        again.rest != b->rest || memcmp(again.weights, b->weights, sizeof b->weights) != 0)
        abort();
    strb_done(&text);
    json_decref(value);
    json_decref(parsed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value;
    struct balance b;
    struct fault fault = { 0 };
    if (size > 65536 || json_parse(slice_of(data, size), &value, NULL) < 0)
        return 0;
    if (balance_read(value, &b, &fault) == 0)
        check(&b);
    else if (fault.text[0] == 0 || !slice_is_utf8(slice_str(fault.text)))
        abort();
    json_decref(value);
    return 0;
}
