/* Encodings of bytes: what decodes encodes to the same text where the form is the only one, and no
 * decoder writes past the room that its header names. */
#include <stdlib.h>

#include "base/text.h"

#define BYTES_MAX 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct uuid id, again;
    char form[UUID_TEXT_BYTES];
    if (size > BYTES_MAX)
        return 0;
    uint8_t *out = malloc(size / 4 * 3 + 3), *back = malloc(size / 4 * 3 + 3);
    char *encoded = malloc(BASE64_BYTES(size / 4 * 3 + 3) + HEX_BYTES(size));
    must(out != NULL && back != NULL && encoded != NULL);
    for (unsigned way = 0; way < 8; way++) {
        enum base64_kind kind = (way & 1) != 0 ? BASE64_URL : BASE64_STD;
        bool padding = (way & 2) != 0, breaks = (way & 4) != 0;
        size_t n, m;
        if (base64_decode(text, kind, padding, breaks, out, &n) < 0)
            continue;
        must(n <= size / 4 * 3 + 3);
        size_t length = base64_encode(slice_of(out, n), kind, padding, encoded);
        must(length <= size || breaks);
        must(base64_decode(slice_of(encoded, length), kind, padding, false, back, &m) == 0);
        must(m == n && memcmp(out, back, n) == 0);
    }
    if (size / 2 <= size / 4 * 3 + 3 && hex_decode(text, out) == 0)
        must(slice_eq_nocase(slice_str(hex_encode(slice_of(out, size / 2), encoded)), text));
    if (uuid_parse(text, &id) == 0)
        must(uuid_parse(slice_str(uuid_text(&id, form)), &again) == 0 && uuid_eq(&id, &again));
    free(out);
    free(back);
    free(encoded);
    return 0;
}
