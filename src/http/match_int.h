#pragma once
/* What the files of regular expressions share. */
#include "base/fault.h"
#include "base/strb.h"

/* Go's syntax (RE2 with the Perl flags) written as PCRE2 has it, so that both mean the same. What
 * Go refuses is refused, and so is the little that PCRE2 cannot say. 0, ERR_PARSE, or an error that
 * stuck in `to`. The pattern is well-formed UTF-8. */
int regex_translate(struct slice pattern, struct strb *to, struct fault *fault)
    __attribute__((warn_unused_result));
