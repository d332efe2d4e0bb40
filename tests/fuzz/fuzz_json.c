/* JSON: what is read is written, and reads back as the same value. */
#include <stdlib.h>

#include "base/err.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL, *again = NULL, *lenient = NULL;
    struct fault fault = { 0 };
    struct slice text = slice_of(data, size);
    struct strb to;
    int r = json_parse(text, &value, &fault);
    must(r == 0 || (r == ERR_PARSE && fault.code == r && fault.text[0] != 0));
    if (json_parse_last_wins(text, &lenient, NULL) == 0)
        json_decref(lenient);
    else
        must(r < 0); /* whatever the strict one takes, the other takes too */
    if (r < 0)
        return 0;
    must(slice_is_utf8(text));
    (void)json_member_slice(value, "a");
    strb_init(&to, 1 << 24);
    json_write(&to, value);
    must(to.err == 0 && json_parse(strb_slice(&to), &again, &fault) == 0);
    must(json_equal(value, again) == 1);
    json_decref(again);
    json_decref(value);
    strb_done(&to);
    return 0;
}
