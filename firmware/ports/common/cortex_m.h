/* What the Cortex-M ports share: start-up, sleep, interrupts. */
#ifndef EAPU_CORTEX_M_H
#define EAPU_CORTEX_M_H

#include <stdbool.h>
#include <stdint.h>

#include "ring.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

typedef void (*handler_t)(void);

/* The first 16 words of the vector table; image.ld gives the stack's top. */
extern uint32_t image_stack_top[];
void reset_handler(void);
void fault_handler(void); /* lines to 0 V, then a reset */
void tick_handler(void);  /* the port's, every millisecond */
#define CORTEX_M_VECTORS                                                                                          \
    reset_handler, fault_handler /* NMI */, fault_handler, fault_handler, fault_handler, fault_handler, 0, 0, 0, 0, \
        fault_handler, fault_handler, 0, fault_handler, tick_handler

/* The millisecond interrupt, which ends every sleep; `hz` is the core's clock. */
void tick_start(uint32_t hz);
/* Core cycles until the next. */
#define TICK_LEFT REGISTER(0xE000E018u)
/* Sleeps until an interrupt, 1 ms at most; not at all where something came in already, which is looked at with
 * interrupts off so that none slips in between. */
void sleep_unless_filled(const ring_t *ring);
void interrupt_enable(uint32_t number);
_Noreturn void system_reset(void);
/* A number that differs from boot to boot, from the jitter of a counter against the code. That is plenty in an
 * emulator, whose counters follow the clock of the machine around it, and little on a chip. */
uint32_t jitter(const volatile uint32_t *clock);

static inline uint32_t interrupts_off(void)
{
    uint32_t mask;
    __asm volatile("mrs %0, primask\n\tcpsid i" : "=r"(mask)::"memory");
    return mask;
}

static inline void interrupts_restore(uint32_t mask)
{
    __asm volatile("msr primask, %0" ::"r"(mask) : "memory");
}

/* Each port: everything that can put a voltage on a line off, with interrupts in any state. */
void port_cut(void);
int main(void);

#endif
