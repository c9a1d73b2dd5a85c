/* The analog front end: what a port implements and what the core may ask of it. Codes only; the core converts.
 *
 * Every call that returns bool returns false when the front end failed or did not answer in time; the core then
 * grounds and enters FAULT. A call may block for as long as the operation takes, and no longer.
 */
#ifndef EAPU_AFE_H
#define EAPU_AFE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"

/* Codes that fit into one transaction with a simulated front end: the payload less its other fields. */
enum { PRODUCT_IN_MAX = (AFE_PAYLOAD_MAX - 2u) / 2u, PRODUCT_OUT_MAX = (AFE_PAYLOAD_MAX - 8u) / 2u };

/* What the front end is. Line drivers give code/top of their full scale; converters likewise in their range. */
typedef struct {
    uint8_t arrays;
    uint16_t rows, cols; /* of one array */
    bool simulated_time;
    int32_t v_max_uv, v_gate_max_uv; /* what the board can stand; limits beyond are refused */
    uint32_t i_max_na, width_max_ns;
    int32_t read_full_scale_uv, pulse_full_scale_uv, gate_full_scale_uv;
    uint16_t read_top, pulse_top, gate_top; /* reads and products: -top..top; pulses and gates: 0..top */
    uint16_t adc_top;                       /* -top..top; a code at the end is saturated */
    uint8_t read_range, ranges;
    float range_full_scale_a[RANGES_MAX];
} afe_info_t;

typedef struct {
    uint16_t row, col;
    int16_t code; /* of the row's driver */
} afe_read_t;

typedef struct {
    uint16_t row, col;
    int8_t polarity;    /* polarity_t: SET and FORM drive the column's line, RESET the row's; the rest is at 0 V */
    uint16_t line_code, gate_code;
    uint32_t width_ns;
} afe_pulse_t;

bool afe_open(afe_info_t *info);
uint64_t afe_time_ns(void);         /* bench time; only rises */
bool afe_skip(uint64_t until_ns);   /* simulated time jumps there; elsewhere nothing to do */
/* The bench's limits, before anything is driven: compliance, the hardware timer's longest drive, and what no gate goes
 * beyond: that of reads and products, which the front end chooses, either. */
bool afe_arm(uint32_t i_max_na, uint32_t width_max_ns, int32_t v_gate_max_uv);
bool afe_ground(void);              /* every line of every array to 0 V */

/* Reads each cell in the read range: its row driven, its gate fully open, all columns virtual grounds. */
bool afe_read(uint8_t array, const afe_read_t *cells, uint8_t count, int16_t *codes);
/* One pulse each, one after another. compliance: 1 where the current limit was reached. */
bool afe_pulse(uint8_t array, const afe_pulse_t *pulses, uint8_t count, uint8_t *compliance);
/* Chooses the lines of the products that follow: a bit for each line, driven first, each padded to bytes. */
bool afe_select(uint8_t array, uint8_t direction, uint8_t range, const uint8_t *bits, uint8_t size);
/* Products: `vectors` times the driven lines' codes in, as many times the measured lines' codes out. */
bool afe_product(uint16_t vectors, const int16_t *in, uint16_t in_count, int16_t *out, uint16_t out_count);

#endif
