/* What is said of a file that is not YAML besides where and why. */
#include "base/err.h"
#include "conf/yaml_tree.h"

#define CUTS_MAX 64 /* lines that may be left out before the one that is wrong */

static struct slice up_to(struct slice text, unsigned lines)
{
    struct slice rest = text, line;
    for (unsigned i = 0; i < lines; i++)
        if (!slice_split(&rest, '\n', &line))
            return text;
    return slice_sub(text, 0, text.n - rest.n);
}

/* A mistake is often seen only some lines after it was made, such as a bracket that stays open. */
struct yaml_node *yaml_parse_before(struct slice text, unsigned line, struct arena *arena)
{
    for (unsigned cut = 1; cut <= CUTS_MAX && cut < line; cut++) {
        struct yaml_node *root = NULL;
        struct yaml_complaints all;
        struct fault f = { 0 };
        if (yaml_parse_all(up_to(text, line - cut), "", arena, &root, &all, &f) == 0 ||
            root != NULL)
            return root;
        if (f.code != ERR_PARSE)
            return NULL;
    }
    return NULL;
}

/* libyaml's words, and what people had written when it said them. */
static const struct {
    const char *says, *hint;
} HINTS[] = {
    { "there is a tab", "replace it with spaces, as many as its neighbours have" },
    { "scanning an alias", "a value that begins with * is put in quotes: '*.example.com'" },
    { "scanning an anchor", "a value that begins with & is put in quotes" },
    { "undefined alias", "a value that begins with * is put in quotes: '*.example.com'" },
    { "mapping values are not allowed",
      "is the line indented as its neighbours are? a value with a colon and a space in it is put "
      "in quotes" },
    { "could not find expected ':'", "a key is followed by a colon and a space: key: value" },
    { "scanning a quoted scalar", "the quote that is opened here, or before, is not closed" },
    { "unknown escape character",
      "write it in single quotes: in double quotes a backslash begins an escape" },
    { "cannot start any token", "a value that begins with @, ` or % is put in quotes" },
    { "expected ',' or", "a bracket or a brace that was opened is not closed" },
    { "block mapping", "the keys of one map begin in the same column: look at this line and the "
                       "one before it" },
    { "block collection", "the dashes of one list stand in the same column: look at this line and "
                          "the one before it" },
    { "block sequence entries are not allowed",
      "a list begins on a line of its own, below its key" },
};

const char *yaml_syntax_hint(struct slice fault_text)
{
    for (size_t i = 0; i < sizeof HINTS / sizeof HINTS[0]; i++) {
        size_t n = strlen(HINTS[i].says);
        if (fault_text.n >= n && memmem(fault_text.p, fault_text.n, HINTS[i].says, n) != NULL)
            return HINTS[i].hint;
    }
    return NULL;
}
