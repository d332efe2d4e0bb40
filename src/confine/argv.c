#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "confine/confine.h"

/* The length stays: the words behind keep their places. */
static void blot(char *text)
{
    for (volatile char *c = text; *c != 0; c++)
        *c = '*';
}

/* What is behind the name of one of the flags in this word: "" when the value is the next word,
 * NULL when it is another flag. */
static char *value_of(char *word, const char *const *flags)
{
    size_t dashes = strspn(word, "-");
    if (dashes == 0 || dashes > 2)
        return NULL;
    for (const char *const *flag = flags; *flag != NULL; flag++) {
        size_t n = strlen(*flag);
        char *end = word + dashes + n;
        if (strncmp(word + dashes, *flag, n) == 0 && (*end == 0 || *end == '='))
            return *end == 0 ? end : end + 1;
    }
    return NULL;
}

void confine_hide(int argc, char **argv, const char *const *flags, const char *const *variables)
{
    for (int i = 1; i < argc; i++) {
        char *value = value_of(argv[i], flags);
        if (value == NULL)
            continue;
        if (value[0] != 0)
            blot(value);
        else if (value[-1] != '=' && i + 1 < argc)
            blot(argv[++i]);
    }
    for (const char *const *name = variables; *name != NULL; name++) {
        char *value = getenv(*name);
        if (value != NULL)
            blot(value);
    }
}
