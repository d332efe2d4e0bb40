#pragma once
/* Which form of a page a visitor likes best, by the Accept fields of its request (RFC 9110
 * §12.5.1). Pure. */
#include "http/fields.h"

enum page_form { PAGE_TEXT, PAGE_HTML, PAGE_JSON, PAGE_FORMS };

/* The form of the highest quality: each form has the quality of the most special range that names
 * it. Of equals the one that is named more specially, then the one that is named first. Plain text
 * when all the same, and when none of ours is acceptable: a page in a wrong form says more than
 * none. */
enum page_form accept_form(const struct fields *fields);
