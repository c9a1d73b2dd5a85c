/* The parts around the array: LTC2688 (drivers), ADS8688 (converters), ADG1414 (selectors), and the timer that
 * lets the drivers through. Every call comes back, whether the parts are there or not. */
#ifndef EAPU_PARTS_H
#define EAPU_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void parts_start(void);
/* Sets the parts up where that was not done yet, and asks each whether it is there and as it was set up. */
bool parts_ready(void);
void wait_us(uint32_t us); /* at least */

/* One driver's voltage, now; or with the others of its part at the next dac_update. */
bool dac_set(uint32_t dac, uint32_t channel, int32_t code);
bool dac_load(uint32_t dac, uint32_t channel, int32_t code);
bool dac_update(uint32_t dac);

/* What the lines' amplifiers say, in the order of `lines`. */
bool adc_measure(const uint8_t *lines, size_t count, int16_t *codes);
void adc_range(uint32_t range);

/* A bit for each line: driven, or held at 0 V by an amplifier that measures its current. All others are grounded. */
bool lines_connect(uint32_t driven, uint32_t measured);

/* The drivers reach the lines while the window is open; the timer closes it, whatever the program does. */
void window_open(uint32_t width_ns);
bool window_is_open(void);
void window_close(void);

void limit_set(uint32_t i_max_na);
void limit_clear(void);
bool limit_hit(void);

#endif
