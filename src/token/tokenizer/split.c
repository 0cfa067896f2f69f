/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-tokenizers: see split.h.
 *
 * Where the original tokenizer says \s, \p{L}, \p{N}, this says UC_SPACE, UC_L, UC_N (uclass.h), so that the
 * Unicode of the installed PCRE2 does not matter. (?i:...) keeps its Unicode meaning: 'ſ matches 's, as it
 * does in the original.
 *
 * Time is linear in the text for every family. The patterns that are not have become code:
 *   @digits-right     runs of decimal digits in groups of three counted from their end, the rest of the piece
 *                     around them as it is: (?=(\d{3})+(?!\d))
 *   @digits-right-all the same for a piece that is all digits, other pieces pass
 *   @trailing-space   white space at the end of a piece on its own: \s+$
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "token/tokenizer/split.h"

#include <pcre2.h>
#include <stdint.h>
#include "base/utf8.h"
#include "token/tokenizer/uclass.h"

enum {
    MATCH_LIMIT = 50 * 1000 * 1000, /* steps of one match */
    DEPTH_LIMIT = 1000 * 1000,
    HEAP_LIMIT_KIB = 256 * 1024,
    JIT_STACK_BYTES = 32 * 1024,
    JIT_STACK_BYTES_MAX = 1024 * 1024,
    STAGE_BYTES_MAX = 1 << 17, /* one pattern of a file's own */
};

/* --- families ---------------------------------------------------------------------------------------- */

#define SP "[" UC_SPACE "]"
#define NOT_SP "[^" UC_SPACE "]"
#define L "[" UC_L "]"
#define N "[" UC_N "]"
#define SUFFIX "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES SP "+(?!" NOT_SP ")|" SP "+" /* a run leaves its last one to the word behind it */
#define LINES SP "*[\\r\\n]+|" SPACES
#define OTHER " ?[^" UC_SPACE UC_L UC_N "]+"
#define PREFIX "[^\\r\\n" UC_L UC_N "]?"

#define GPT2 "'(?:s|t|re|ve|m|ll|d)| ?" L "+| ?" N "+|" OTHER "|" SPACES
#define GPT2_DIGITS /* each digit alone, then GPT2, in one pattern: a piece ends before a digit */           \
    "'(?:s|t|re|ve|m|ll|d)| ?" L "+|" N "|" OTHER "|" SP "+(?=" N ")|" SPACES
#define LLAMA3 SUFFIX "|" PREFIX L "+|" N "{1,3}|" OTHER "[\\r\\n]*|" LINES
#define QWEN2 SUFFIX "|" PREFIX L "+|" N "|" OTHER "[\\r\\n]*|" LINES
#define QWEN35 SUFFIX "|" PREFIX "[" UC_L UC_M "]+|" N "| ?[^" UC_SPACE UC_L UC_M UC_N "]+[\\r\\n]*|" LINES
#define CAPITAL "[" UC_LU UC_LT UC_LM UC_LO UC_M "]"
#define SMALL "[" UC_LL UC_LM UC_LO UC_M "]"
#define TEKKEN_REST "|" OTHER "[\\r\\n/]*|" LINES
#define TEKKEN PREFIX CAPITAL "*" SMALL "+|" PREFIX CAPITAL "+" SMALL "*|" N TEKKEN_REST
#define GPT4O                                                                                                \
    PREFIX CAPITAL "*" SMALL "+" SUFFIX "?|" PREFIX CAPITAL "+" SMALL "*" SUFFIX "?|" N "{1,3}" TEKKEN_REST
#define YOUTU PREFIX CAPITAL "*" SMALL "+" SUFFIX "?|" PREFIX CAPITAL "+" SMALL "*" SUFFIX "?|" N TEKKEN_REST
#define HAN "[" UC_HAN "]"
#define CAPITAL_K2 "[" UC_LU UC_LT UC_M UC_LMO_NOT_HAN "]"
#define SMALL_K2 "[" UC_LL UC_M UC_LMO_NOT_HAN "]"
#define KIMI_K2                                                                                              \
    HAN "+|" PREFIX CAPITAL_K2 "*" SMALL_K2 "+" SUFFIX "?|" PREFIX CAPITAL_K2 "+" SMALL_K2 "*" SUFFIX "?|" N \
        "{1,3}|" OTHER "[\\r\\n]*|" LINES
#define ASCII_MARK "[!-/:-@\\[-`{-~]"
#define DEEPSEEK3_WORD ASCII_MARK "[A-Za-z]+|[^\\r\\n" UC_L UC_P UC_S "]?[" UC_L UC_M "]+| ?[" UC_P UC_S "]+"
#define CJK "[一-龥\\x{3040}-ゟ゠-ヿ]+"
#define WIDE "[一-龥ࠀ-一가-\\x{D7FF}]+"
#define BLOOM " ?[^(" UC_SPACE "|.,!?…。，、।۔،)]+"
#define FALCON_MARKS "[" UC_P "$+<=>^~|`]+"
#define DEFAULT_MARKS "[" UC_P "$+<=>^~|]+"
#define EXAONE_MOE                                                                                           \
    SUFFIX "|" PREFIX "(?:" L "[" UC_M "]*+(?: " L "[" UC_M "]*+)*+)++|" N "|" OTHER "[\\r\\n/]?|" SP        \
           "*[\\r\\n]|" SPACES
#define BAILING                                                                                              \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n" UC_L UC_N "]?+" L "+|" N "|" OTHER "[\\r\\n]*|" SP "*[\\r\\n]|" SPACES
#define SEED_CODER SUFFIX "|" PREFIX L "+|" N "| ?[^" UC_SPACE UC_L UC_N "\\r\\n]+|" LINES
/* Letters of the Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee, ... alphabets with case. */
#define CASED_WORD                                                                                           \
    SP "?["                                                                                                  \
       "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"       \
       "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}"                 \
       "\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}"       \
       "\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}"       \
       "\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"     \
       "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}"      \
       "\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}"      \
       "\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}"     \
       "\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}"       \
       "\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}"                \
       "\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}"                \
       "\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"      \
       "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}"     \
       "\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}"                    \
       "\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}"                \
       "\\x{1E900}-\\x{1E943}"                                                                               \
       "]+"
/* What Oniguruma's \b calls a word: alphabetic (circled letters too), marks, digits, connectors, Latin-1's
 * fractions. */
#define WORD_CHARS                                                                                           \
    UC_L UC_M UC_ND "\\p{Nl}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}\\x{24B6}-\\x{24E9}"                  \
                    "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
#define DEEPSEEK_MARKS SP "?[!-/:-~！-／：-～‘-‟\\x{3000}-。]+"

static const struct split_family families[] = {
    {"default", 0, 0, {DEFAULT_MARKS, GPT2, N "+", "[0-9][0-9][0-9]"}},
    {"gpt-2", 0, 0, {GPT2}},
    {"mpt", 0, VOCAB_NORM_NFC, {GPT2}},
    {"smollm", 0, 0, {GPT2_DIGITS}},
    {"llama-bpe", SPLIT_WHOLE_WORDS | SPLIT_ADD_BOS, 0, {LLAMA3}},
    {"dbrx", 0, 0, {LLAMA3}},
    {"glm4", SPLIT_WHOLE_WORDS, 0, {LLAMA3}},
    {"jais-2",
     0,
     0,
     {SUFFIX "|" PREFIX L "+|" N "{1,3}|" OTHER "[\\r\\n]*|" SP "*[\\r\\n]+|" SP "{512}(?!" NOT_SP ")|" SP
             "{256}(?!" NOT_SP ")|" SP "{128}(?!" NOT_SP ")|" SP "{64}(?!" NOT_SP ")|" SP "{32}(?!" NOT_SP
             ")|" SP "{16}(?!" NOT_SP ")|" SP "{8}(?!" NOT_SP ")|" SP "{4}(?!" NOT_SP ")|" SP
             "{1,2}(?!" NOT_SP ")|" SP "{1}"}},
    {"qwen2", 0, VOCAB_NORM_NFC, {QWEN2}},
    {"stablelm2", 0, 0, {QWEN2}},
    {"qwen35", 0, 0, {QWEN35}},
    {"minicpm5", SPLIT_WHOLE_WORDS, 0, {N "{1,3}", SUFFIX "|" PREFIX L "+|" N "+|" OTHER "[\\r\\n]*|" LINES}},
    {"ufakzeka", 0, 0, {PREFIX L "+|" N "|" OTHER "[\\r\\n]*|" LINES}},
    {"laguna", 0, 0, {"[^\\n]+|\\n+", QWEN2}},
    {"gpt-4o", 0, 0, {GPT4O}},
    {"youtu",
     SPLIT_WHOLE_WORDS,
     0,
     {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" CJK, YOUTU}},
    {"granite-embed-multi-97m", SPLIT_WHOLE_WORDS, 0, {GPT4O}},
    {"tekken", SPLIT_WHOLE_WORDS | SPLIT_ADD_BOS, 0, {TEKKEN}},
    {"tiny_aya", 0, 0, {"[" UC_ND "]++(?![" WORD_CHARS "])", "@digits-right-all", GPT4O}},
    {"deepseek-llm", 0, 0, {"[\\r\\n]", CASED_WORD, DEEPSEEK_MARKS, "@trailing-space", WIDE, N "+"}},
    {"deepseek-coder", 0, 0, {"[\\r\\n]", SP "?" L "+", SP "?[" UC_P "]+", WIDE, N}},
    {"deepseek-v3", 0, 0, {N "{1,3}", CJK, DEEPSEEK3_WORD "[\\r\\n]*|" LINES}},
    {"spark2_5", 0, 0, {N "{1,3}", CJK, DEEPSEEK3_WORD "|[\\r\\n]|" SPACES, N}},
    {"falcon", 0, 0, {FALCON_MARKS, GPT2, "[0-9][0-9][0-9]"}},
    {"bloom", 0, 0, {BLOOM}},
    {"viking", 0, 0, {BLOOM, N}},
    {"kimi-k2", 0, 0, {KIMI_K2}},
    {"superbpe", 0, 0, {N "+", "@digits-right"}},
    {"bailingmoe", 0, 0, {BAILING}},
    {"seed-coder", 0, 0, {SEED_CODER}},
    {"exaone-moe", 0, 0, {EXAONE_MOE}},
    {"gemma4", SPLIT_CHARS | SPLIT_LINES | SPLIT_ADD_BOS, 0, {NULL}},
    {"sarvam-moe", SPLIT_CHARS | SPLIT_LINES, 0, {NULL}},
};

static const struct {
    const char *name, *family;
} aliases[] = {
    {"phi-2", "gpt-2"},
    {"jina-es", "gpt-2"},
    {"jina-de", "gpt-2"},
    {"gigachat", "gpt-2"},
    {"jina-v2-es", "gpt-2"},
    {"jina-v2-de", "gpt-2"},
    {"a.x-4.0", "gpt-2"},
    {"mellum", "gpt-2"},
    {"modern-bert", "gpt-2"},
    {"jina-v1-en", "gpt-2"},
    {"jina-v2-code", "gpt-2"},
    {"roberta-bpe", "gpt-2"},
    {"exaone4", "gpt-2"},
    {"jais", "gpt-2"},
    {"trillion", "gpt-2"},
    {"granite-docling", "gpt-2"},
    {"olmo", "mpt"},
    {"starcoder", "smollm"},
    {"refact", "smollm"},
    {"command-r", "smollm"},
    {"codeshell", "smollm"},
    {"exaone", "smollm"},
    {"minerva-7b", "smollm"},
    {"mellum2", "smollm"},
    {"llama3", "llama-bpe"},
    {"llama-v3", "llama-bpe"},
    {"falcon3", "llama-bpe"},
    {"falcon-h1", "llama-bpe"},
    {"pixtral", "llama-bpe"},
    {"midm-2.0", "llama-bpe"},
    {"lfm2", "llama-bpe"},
    {"jina-v5-nano", "llama-bpe"},
    {"smaug-bpe", "dbrx"},
    {"chatglm-bpe", "dbrx"},
    {"glm5", "glm4"},
    {"deepseek-r1-qwen", "stablelm2"},
    {"kormo", "stablelm2"},
    {"f2llmv2", "qwen2"},
    {"megrez", "qwen2"},
    {"hunyuan", "stablelm2"},
    {"solar-open", "stablelm2"},
    {"grok-2", "stablelm2"},
    {"llama4", "gpt-4o"},
    {"kanana2", "gpt-4o"},
    {"talkie", "gpt-4o"},
    {"minimax-m2", "gpt-4o"},
    {"cohere2moe", "tiny_aya"},
    {"hunyuan-dense", "deepseek-v3"},
    {"joyai-llm", "deepseek-v3"},
    {"hy_v4", "deepseek-v3"},
    {"poro-chat", "bloom"},
    {"gpt3-finnish", "bloom"},
    {"bailingmoe2", "bailingmoe"},
    {"llada-moe", "bailingmoe"},
    {"granite-embed-multi-311m", "gemma4"},
};

static const char *const smollm_stages[] = {N, GPT2}; /* what GPT2_DIGITS is in one pattern */
#undef SP
#undef NOT_SP
#undef L
#undef N

enum { N_FAMILY = sizeof families / sizeof *families, N_ALIAS = sizeof aliases / sizeof *aliases };

static const struct split_family *find_family(struct str name)
{
    for (int i = 0; i < N_FAMILY; i++) {
        if (str_eqz(name, families[i].name)) return &families[i];
    }
    return NULL;
}

int split_family_find(struct str name, const struct split_family **f, struct err *e)
{
    *f = find_family(name.n > 0 ? name : STR("default"));
    for (int i = 0; i < N_ALIAS && !*f; i++) {
        if (str_eqz(name, aliases[i].name)) *f = find_family(str_from(aliases[i].family));
    }
    if (*f) return 0;
    struct buf known;
    buf_init(&known, 4096);
    for (int i = 0; i < N_FAMILY; i++) buf_printf(&known, "%s%s", i ? ", " : "", families[i].name);
    int rc = err(e, ERR_UNSUPPORTED, "tokenizer: the pre-tokenizer '%.*s' is not known (families: %.*s)",
                 STR_ARG(name), (int)known.n, known.p ? known.p : "");
    buf_finish(&known);
    return rc;
}

const char *split_family_named(unsigned flags, enum vocab_norm norm, const char *const *stage, int n_stage)
{
    if (n_stage == 2 && !strcmp(stage[0], smollm_stages[0]) && !strcmp(stage[1], smollm_stages[1]) &&
        !flags && !norm)
        return "smollm";
    for (int i = 0; i < N_FAMILY; i++) {
        const struct split_family *f = &families[i];
        int n = 0;
        while (n < n_stage && f->stage[n] && !strcmp(f->stage[n], stage[n])) n++;
        if (n == n_stage && (n == SPLIT_STAGES_MAX || !f->stage[n]) &&
            (f->flags & ~(unsigned)SPLIT_ADD_BOS) == flags && f->norm == norm)
            return f->name;
    }
    return NULL;
}

static bool is_code(const char *stage)
{
    static const char *const known[] = {"@digits-right", "@digits-right-all", "@trailing-space"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(stage, known[i])) return true;
    return false;
}

int split_family_own(struct split_family *f, const struct vocab_spec *spec, struct arena *a, struct err *e)
{
    if (spec->n_stages > SPLIT_STAGES_MAX || spec->split_flags & ~(unsigned)SPLIT_FLAGS || spec->norm < 0 ||
        spec->norm > VOCAB_NORM_NFKC)
        return err(e, ERR_UNSUPPORTED,
                   "tokenizer: %zu stages, flags %u, norm %d of '" SPLIT_KEY_STAGES
                   "' and its like: a newer version wrote this file",
                   spec->n_stages, spec->split_flags, (int)spec->norm);
    *f = (struct split_family){.name = SPLIT_OWN, .flags = spec->split_flags, .norm = spec->norm};
    for (size_t i = 0; i < spec->n_stages; i++) {
        struct str s = spec->stages[i];
        if (s.n == 0 || s.n > STAGE_BYTES_MAX || memchr(s.p, 0, s.n))
            return err(e, ERR_FORMAT,
                       "tokenizer: stage %zu of '" SPLIT_KEY_STAGES "' has %zu bytes or holds a NUL", i, s.n);
        if (!(f->stage[i] = arena_strdup(a, s))) return err(e, ERR_MEMORY, "tokenizer: out of memory");
        if (s.p[0] == '@' && !is_code(f->stage[i]))
            return err(e, ERR_UNSUPPORTED, "tokenizer: stage '%.*s' is not known", STR_ARG(s));
    }
    return 0;
}

/* --- compiling --------------------------------------------------------------------------------------- */

int splitter_init(struct splitter *s, const struct split_family *f, struct err *e)
{
    *s = (struct splitter){.family = f};
    for (int i = 0; i < SPLIT_STAGES_MAX && f->stage[i]; i++, s->n_stage++) {
        if (f->stage[i][0] == '@') continue;
        int code;
        PCRE2_SIZE at;
        pcre2_code *c = pcre2_compile((PCRE2_SPTR)f->stage[i], PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                                      &code, &at, NULL);
        if (!c) {
            PCRE2_UCHAR text[128] = "";
            pcre2_get_error_message(code, text, sizeof text);
            splitter_finish(s);
            return err(e, code == PCRE2_ERROR_HEAP_FAILED ? ERR_MEMORY : ERR_FORMAT,
                       "tokenizer: stage %d of pre-tokenizer '%s' does not compile at %zu: %s", i, f->name,
                       (size_t)at, (const char *)text);
        }
        s->code[i] = c;
        uint32_t empty = 0;
        if (pcre2_pattern_info(c, PCRE2_INFO_MATCHEMPTY, &empty) || empty) {
            splitter_finish(s);
            return err(e, ERR_UNSUPPORTED, "tokenizer: stage %d of pre-tokenizer '%s' can match nothing", i, f->name);
        }
        s->jit[i] = pcre2_jit_compile(c, PCRE2_JIT_COMPLETE) == 0; /* else the interpreter does it */
    }
    return 0;
}

void splitter_finish(struct splitter *s)
{
    for (int i = 0; i < SPLIT_STAGES_MAX; i++) pcre2_code_free(s->code[i]);
    *s = (struct splitter){0};
}

int split_scratch_init(struct split_scratch *x, const struct splitter *s, struct err *e)
{
    *x = (struct split_scratch){0};
    bool ok = (x->context = pcre2_match_context_create(NULL)) != NULL;
    for (int i = 0; i < s->n_stage && ok; i++) {
        if (s->code[i]) ok = (x->match[i] = pcre2_match_data_create(1, NULL)) != NULL;
        if (ok && s->jit[i] && !x->stack)
            x->stack = pcre2_jit_stack_create(JIT_STACK_BYTES, JIT_STACK_BYTES_MAX, NULL);
    }
    if (!ok) {
        split_scratch_finish(x);
        return err(e, ERR_MEMORY, "tokenizer: out of memory");
    }
    pcre2_set_match_limit(x->context, MATCH_LIMIT);
    pcre2_set_depth_limit(x->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(x->context, HEAP_LIMIT_KIB);
    if (x->stack) pcre2_jit_stack_assign(x->context, NULL, x->stack);
    return 0;
}

void split_scratch_finish(struct split_scratch *x)
{
    for (int i = 0; i < SPLIT_STAGES_MAX; i++) pcre2_match_data_free(x->match[i]);
    pcre2_match_context_free(x->context);
    pcre2_jit_stack_free(x->stack);
    *x = (struct split_scratch){0};
}

/* --- running ----------------------------------------------------------------------------------------- */

struct run {
    const struct splitter *s;
    struct split_scratch *x;
    split_word word;
    void *ctx;
    struct err *e;
};

static int run_stage(const struct run *r, int i_stage, const char *p, size_t n);

static int pass_on(const struct run *r, int i_stage, const char *p, size_t n)
{
    if (n == 0) return 0;
    return i_stage + 1 < r->s->n_stage ? run_stage(r, i_stage + 1, p, n) : r->word(r->ctx, p, n);
}

static bool is_digit(uint32_t cp)
{
    static const uint32_t zero[] = {UC_ND_ZEROS};
    size_t lo = 0, hi = sizeof zero / sizeof *zero; /* the last zero at or below cp is in [lo, hi) */
    if (cp < zero[0]) return false;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (zero[mid] <= cp) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return cp - zero[lo] < 10;
}

/* Bytes and number of the digits that p[0..n) begins with. */
static size_t digit_run(const char *p, size_t n, size_t *count)
{
    size_t at = 0;
    for (*count = 0; at < n; ++*count) {
        uint32_t cp;
        int k = utf8_decode(p + at, n - at, &cp);
        if (k <= 0 || !is_digit(cp)) break;
        at += (size_t)k;
    }
    return at;
}

static size_t char_bytes(const char *p)
{
    unsigned char c = (unsigned char)*p;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

static int run_digits_right(const struct run *r, int i_stage, const char *p, size_t n, bool all)
{
    size_t count, from = 0;
    if (all && digit_run(p, n, &count) != n) return pass_on(r, i_stage, p, n);
    for (size_t at = 0; at < n;) {
        digit_run(p + at, n - at, &count);
        for (; count > 0; count--) {
            if (count % 3 == 0) { /* a group of three begins here */
                int rc = pass_on(r, i_stage, p + from, at - from);
                if (rc != 0) return rc;
                from = at;
            }
            at += char_bytes(p + at);
        }
        if (at < n) at += char_bytes(p + at);
    }
    return pass_on(r, i_stage, p + from, n - from);
}

static bool is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F ||
           cp == 0x3000;
}

static int run_trailing_space(const struct run *r, int i_stage, const char *p, size_t n)
{
    size_t cut = n;
    while (cut > 0) {
        size_t at = cut - 1;
        uint32_t cp;
        while (at > 0 && ((unsigned char)p[at] & 0xC0) == 0x80) at--;
        if (utf8_decode(p + at, cut - at, &cp) <= 0 || !is_space(cp)) break;
        cut = at;
    }
    int rc = pass_on(r, i_stage, p, cut);
    return rc != 0 ? rc : pass_on(r, i_stage, p + cut, n - cut);
}

static int match(const struct run *r, int i, const char *p, size_t n, size_t from)
{
    pcre2_code *code = r->s->code[i];
    pcre2_match_data *md = r->x->match[i];
    pcre2_match_context *mc = r->x->context;
    if (r->s->jit[i]) {
        int rc = pcre2_jit_match(code, (PCRE2_SPTR)p, n, from, PCRE2_NO_UTF_CHECK, md, mc);
        if (rc != PCRE2_ERROR_JIT_STACKLIMIT) return rc;
    }
    return pcre2_match(code, (PCRE2_SPTR)p, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, md, mc);
}

static int run_stage(const struct run *r, int i_stage, const char *p, size_t n)
{
    if (!r->s->code[i_stage]) {
        switch (r->s->family->stage[i_stage][1]) {
        case 't':
            return run_trailing_space(r, i_stage, p, n);
        default:
            return run_digits_right(r, i_stage, p, n, r->s->family->stage[i_stage][13] == '-');
        }
    }
    const PCRE2_SIZE *found = pcre2_get_ovector_pointer(r->x->match[i_stage]);
    bool last = i_stage + 1 == r->s->n_stage;
    for (size_t at = 0; at < n;) {
        int rc = match(r, i_stage, p, n, at);
        if (rc == PCRE2_ERROR_NOMATCH) return pass_on(r, i_stage, p + at, n - at);
        if (rc < 0) {
            PCRE2_UCHAR text[128] = "";
            pcre2_get_error_message(rc, text, sizeof text);
            return err(r->e, rc == PCRE2_ERROR_NOMEMORY ? ERR_MEMORY : ERR_LIMIT,
                       "tokenizer: pre-tokenizer '%s' gave up on a text of %zu bytes: %s", r->s->family->name,
                       n, (const char *)text);
        }
        size_t start = found[0], end = found[1];
        must(start >= at && end > start && end <= n); /* no pattern matches nothing */
        if (start > at && (rc = pass_on(r, i_stage, p + at, start - at)) != 0) return rc;
        rc = last ? r->word(r->ctx, p + start, end - start)
                  : run_stage(r, i_stage + 1, p + start, end - start);
        if (rc != 0) return rc;
        at = end;
    }
    return 0;
}

int split_run(const struct splitter *s, struct split_scratch *x, struct str text, split_word word, void *ctx,
              struct err *e)
{
    struct run r = {s, x, word, ctx, e};
    if (text.n == 0) return 0;
    return s->n_stage > 0 ? run_stage(&r, 0, text.p, text.n) : word(ctx, text.p, text.n);
}
