/* The microcontroller itself: clocks, watchdog, the host's serial line. */
#ifndef EAPU_CHIP_H
#define EAPU_CHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HOST_RX_BYTES = 4096 };

void chip_start(void); /* clocks, ports, tick */
/* QEMU has no clock control; its core, timers and serial lines run all the same. */
bool chip_emulated(void);
uint8_t chip_reset_cause(void);
uint32_t chip_random(void);
void chip_serial(char text[17]);

/* From now on the chip resets when the dog is not fed for a second: pins float, and the lines' switches open. */
void watchdog_start(void);
void watchdog_feed(void);

void host_start(void);
size_t host_receive(uint8_t *bytes, size_t room);
void host_sleep(void); /* until something comes in, 1 ms at most */
void host_handler(void); /* USART1 */

#endif
