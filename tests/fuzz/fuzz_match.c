/* Path patterns: the input is a pattern, a newline, and a text. What is compiled means the same
 * when it is compiled again, and a text that is searched never takes long. */
#include <stdlib.h>

#include "base/err.h"
#include "http/match.h"

#define PATTERN_MAX 256
#define TEXT_MAX    1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_of(data, size);
    size_t end = slice_find(all, '\n');
    struct slice pattern = slice_sub(all, 0, end), text = slice_sub(all, end + 1, SIZE_MAX);
    struct regex *one = NULL, *two = NULL;
    struct fault fault = { 0 };
    if (pattern.n > PATTERN_MAX || text.n > TEXT_MAX)
        return 0;
    int r = regex_new(pattern, &one, &fault);
    if (r < 0) {
        if (fault.code != r || fault.text[0] == 0 || one != NULL)
            abort();
        return 0;
    }
    bool found = regex_matches(one, text);
    if (regex_new(pattern, &two, &fault) < 0 || regex_matches(two, text) != found)
        abort();
    regex_free(one);
    regex_free(two);
    struct arena arena;
    arena_init(&arena, 1 << 20);
    const char *ascii = idna_ascii(text, &arena);
    for (; ascii != NULL && *ascii != 0; ascii++)
        if ((uint8_t)*ascii >= 0x80)
            abort();
    arena_done(&arena);
    return 0;
}
