#include "http/accept.h"

#define QUALITY_MOST 1000

/* What is known of one form so far. */
struct liking {
    unsigned special; /* 0 = not named; 1 by any type, 2 by its kind, 3 by its name */
    unsigned quality; /* of the most special range, in thousandths */
    size_t at;        /* which range that was */
};

/* q=0.5 in thousandths; all of it when it is not given or is no number (§12.4.2). */
static unsigned quality_of(struct slice parameters)
{
    struct slice part;
    while (slice_split(&parameters, ';', &part)) {
        part = slice_trim(part);
        if (part.n < 3 || (part.p[0] | 0x20) != 'q' || part.p[1] != '=')
            continue;
        unsigned q = 0, unit = QUALITY_MOST;
        for (size_t i = 2; i < part.n && unit > 0; i++) {
            if (part.p[i] == '.' && i == 3)
                continue;
            if (part.p[i] < '0' || part.p[i] > '9')
                return QUALITY_MOST;
            q += (unsigned)(part.p[i] - '0') * unit;
            unit /= 10;
        }
        return q < QUALITY_MOST ? q : QUALITY_MOST;
    }
    return QUALITY_MOST;
}

static void like(struct liking *l, unsigned special, unsigned quality, size_t at)
{
    if (special < l->special || (special == l->special && quality <= l->quality))
        return;
    *l = (struct liking){ .special = special, .quality = quality, .at = at };
}

static void take_range(struct liking likings[static PAGE_FORMS], struct slice type,
                       unsigned quality, size_t at)
{
    if (slice_eq_nocase(type, SLICE("text/html")) ||
        slice_eq_nocase(type, SLICE("application/xhtml+xml")))
        like(&likings[PAGE_HTML], 3, quality, at);
    else if (slice_eq_nocase(type, SLICE("application/json")) || slice_ends(type, SLICE("+json")))
        like(&likings[PAGE_JSON], 3, quality, at);
    else if (slice_eq_nocase(type, SLICE("text/plain")))
        like(&likings[PAGE_TEXT], 3, quality, at);
    else if (slice_eq_nocase(type, SLICE("application/*")))
        like(&likings[PAGE_JSON], 2, quality, at);
    else if (slice_eq_nocase(type, SLICE("text/*"))) {
        like(&likings[PAGE_TEXT], 2, quality, at);
        like(&likings[PAGE_HTML], 2, quality, at);
    } else if (slice_eq(type, SLICE("*/*")))
        for (size_t i = 0; i < PAGE_FORMS; i++)
            like(&likings[i], 1, quality, at);
}

static bool is_better(const struct liking *a, const struct liking *than)
{
    if (a->quality != than->quality)
        return a->quality > than->quality;
    if (a->special != than->special)
        return a->special > than->special;
    return a->at < than->at;
}

enum page_form accept_form(const struct fields *fields)
{
    struct liking likings[PAGE_FORMS] = { 0 };
    size_t at = 0;
    for (size_t i = 0; i < fields->count; i++) {
        struct slice rest = fields->lines[i].value, part;
        if (!slice_eq_nocase(fields->lines[i].name, SLICE("accept")))
            continue;
        while (slice_split(&rest, ',', &part)) {
            struct slice type;
            if (slice_split(&part, ';', &type))
                take_range(likings, slice_trim(type), quality_of(part), at++);
        }
    }
    enum page_form best = PAGE_TEXT;
    for (enum page_form f = PAGE_HTML; f < PAGE_FORMS; f++)
        if (likings[f].quality > 0 && is_better(&likings[f], &likings[best]))
            best = f;
    return best;
}
