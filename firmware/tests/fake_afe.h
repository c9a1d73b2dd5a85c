/* A front end for tests: records every call, models simple cells, fails when told to. */
#ifndef EAPU_FAKE_AFE_H
#define EAPU_FAKE_AFE_H

#include "afe.h"

enum { FAKE_CALLS = 8192, FAKE_CELLS = 12 };

typedef enum {
    CALL_OPEN,
    CALL_SKIP,
    CALL_ARM,
    CALL_GROUND,
    CALL_READ,
    CALL_PULSE,
    CALL_SELECT,
    CALL_PRODUCT
} fake_kind_t;

typedef struct {
    fake_kind_t kind;
    uint8_t array;
    uint16_t count;                  /* cells or vectors */
    afe_pulse_t pulses[FAKE_CELLS];  /* the first ones of a pulse call */
    afe_read_t reads[FAKE_CELLS];    /* of a read */
    uint8_t direction, range, size;  /* of a select */
    uint8_t bits[2 * (LINES_MAX / 8)];
} fake_call_t;

typedef struct {
    /* Set by the test. */
    afe_info_t info;
    double g_S[ARRAYS_MAX][LINES_MAX][LINES_MAX];
    bool stuck[ARRAYS_MAX][LINES_MAX][LINES_MAX];
    uint32_t fail_at;   /* this many calls from now one fails, once: 1 is the next; 0 none */
    uint32_t fail_grounds;   /* so many of the next calls of afe_ground fail */
    void (*on_ground)(void); /* what happens during each of them, if anything */
    uint64_t cell_ns;   /* that one read or pulse takes */
    double noise_S;     /* largest that reads and pulses are off by; the same each time for the same seed */
    uint32_t seed;
    /* Recorded. */
    fake_call_t calls[FAKE_CALLS];
    uint32_t count; /* of all calls; those beyond FAKE_CALLS are counted only */
    uint64_t time_ns;
    bool grounded;
    uint32_t i_max_na, width_max_ns; /* as armed */
    int32_t v_gate_max_uv;           /* likewise */
    int32_t most_read_code, most_line_code, most_gate_code; /* that were ever driven, as magnitudes */
    uint32_t pulses[ARRAYS_MAX][LINES_MAX][LINES_MAX];      /* that each cell got */
} fake_t;

extern fake_t fake;

/* An array board of rows x cols: reads +-0.25 V in +-511 codes, pulses 0..4 V and gates 0..3 V in 0..4095,
 * ranges of 4, 20, 100 and 500 uA with +-2047 codes, reads in the second. Cells start at 2 uS. */
void fake_reset(uint8_t arrays, uint16_t rows, uint16_t cols);
/* How many calls of a kind were recorded. */
uint32_t fake_calls(fake_kind_t kind);
/* The last call of a kind; NULL when there was none. */
const fake_call_t *fake_last(fake_kind_t kind);
/* Forgets the recorded calls; cells, time and settings stay. */
void fake_forget(void);

#endif
