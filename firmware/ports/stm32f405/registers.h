/* The registers of the STM32F405 that this port uses: reference manual RM0090. */
#ifndef EAPU_REGISTERS_H
#define EAPU_REGISTERS_H

#include "cortex_m.h"

#define RCC_CR REGISTER(0x40023800u)
#define RCC_PLLCFGR REGISTER(0x40023804u)
#define RCC_CFGR REGISTER(0x40023808u)
#define RCC_AHB1ENR REGISTER(0x40023830u)
#define RCC_AHB2ENR REGISTER(0x40023834u)
#define RCC_APB1ENR REGISTER(0x40023840u)
#define RCC_APB2ENR REGISTER(0x40023844u)
#define RCC_CSR REGISTER(0x40023874u)
enum { RCC_CR_HSION = 1u << 0, RCC_CR_HSIRDY = 1u << 1, RCC_CR_HSEON = 1u << 16, RCC_CR_HSERDY = 1u << 17 };
enum { RCC_CR_PLLON = 1u << 24, RCC_CR_PLLRDY = 1u << 25 };
enum { RCC_PLLCFGR_HSE = 1u << 22 };
enum { RCC_CFGR_SW_PLL = 2u, RCC_CFGR_SWS = 3u << 2, RCC_CFGR_SWS_PLL = 2u << 2 };
enum { RCC_CFGR_APB1_DIV4 = 5u << 10, RCC_CFGR_APB2_DIV2 = 4u << 13 };
enum { RCC_AHB1_GPIOA = 1u << 0, RCC_AHB1_GPIOB = 1u << 1, RCC_AHB1_GPIOC = 1u << 2, RCC_AHB2_RNG = 1u << 6 };
enum { RCC_APB1_TIM5 = 1u << 3, RCC_APB1_SPI2 = 1u << 14, RCC_APB1_SPI3 = 1u << 15, RCC_APB1_DAC = 1u << 29 };
enum { RCC_APB2_USART1 = 1u << 4, RCC_APB2_SPI1 = 1u << 12 };
enum { RCC_CSR_RMVF = 1u << 24, RCC_CSR_BOR = 1u << 25, RCC_CSR_PIN = 1u << 26, RCC_CSR_POR = 1u << 27 };
enum { RCC_CSR_SOFT = 1u << 28, RCC_CSR_IWDG = 1u << 29, RCC_CSR_WWDG = 1u << 30 };

#define FLASH_ACR REGISTER(0x40023C00u)
enum { FLASH_ACR_5_WAIT_STATES = 5u, FLASH_ACR_PREFETCH_CACHES = 7u << 8 };

enum { PORT_A = 0x40020000, PORT_B = 0x40020400, PORT_C = 0x40020800 };
#define GPIO_MODER(port) REGISTER((port) + 0x00u)
#define GPIO_OSPEEDR(port) REGISTER((port) + 0x08u)
#define GPIO_PUPDR(port) REGISTER((port) + 0x0Cu)
#define GPIO_IDR(port) REGISTER((port) + 0x10u)
#define GPIO_BSRR(port) REGISTER((port) + 0x18u)
#define GPIO_AFR(port, n) REGISTER((port) + 0x20u + 4u * (n))

#define USART1_SR REGISTER(0x40011000u)
#define USART1_DR REGISTER(0x40011004u)
#define USART1_BRR REGISTER(0x40011008u)
#define USART1_CR1 REGISTER(0x4001100Cu)
enum { USART_SR_ORE = 1u << 3, USART_SR_RXNE = 1u << 5, USART_SR_TXE = 1u << 7 };
enum { USART_CR1_RE = 1u << 2, USART_CR1_TE = 1u << 3, USART_CR1_RXNEIE = 1u << 5 };
enum { USART_CR1_TXEIE = 1u << 7, USART_CR1_UE = 1u << 13 };
enum { IRQ_USART1 = 37 };

enum { SPI1 = 0x40013000, SPI2 = 0x40003800, SPI3 = 0x40003C00 };
#define SPI_CR1(spi) REGISTER((spi) + 0x00u)
#define SPI_SR(spi) REGISTER((spi) + 0x08u)
#define SPI_DR(spi) REGISTER((spi) + 0x0Cu)
enum { SPI_CR1_CPHA = 1u << 0, SPI_CR1_MSTR = 1u << 2, SPI_CR1_SPE = 1u << 6 };
enum { SPI_CR1_SSI = 1u << 8, SPI_CR1_SSM = 1u << 9 };
#define SPI_CR1_DIVIDE(log2) (((log2) - 1u) << 3)
enum { SPI_SR_RXNE = 1u << 0, SPI_SR_TXE = 1u << 1 };

#define TIM5_CR1 REGISTER(0x40000C00u)
#define TIM5_SR REGISTER(0x40000C10u)
#define TIM5_EGR REGISTER(0x40000C14u)
#define TIM5_CCMR1 REGISTER(0x40000C18u)
#define TIM5_CCER REGISTER(0x40000C20u)
#define TIM5_CNT REGISTER(0x40000C24u)
#define TIM5_PSC REGISTER(0x40000C28u)
#define TIM5_ARR REGISTER(0x40000C2Cu)
#define TIM5_CCR1 REGISTER(0x40000C34u)
enum { TIM_CR1_CEN = 1u << 0, TIM_CR1_URS = 1u << 2, TIM_CR1_OPM = 1u << 3 };
enum { TIM_CCMR1_OC1_FORCED_LOW = 4u << 4, TIM_CCMR1_OC1_PWM2 = 7u << 4, TIM_CCER_CC1E = 1u, TIM_EGR_UG = 1u };

#define DAC_CR REGISTER(0x40007400u)
#define DAC_DHR12R1 REGISTER(0x40007408u)
enum { DAC_CR_EN1 = 1u };

#define IWDG_KR REGISTER(0x40003000u)
#define IWDG_PR REGISTER(0x40003004u)
#define IWDG_RLR REGISTER(0x40003008u)

#define RNG_CR REGISTER(0x50060800u)
#define RNG_SR REGISTER(0x50060804u)
#define RNG_DR REGISTER(0x50060808u)
enum { RNG_CR_RNGEN = 1u << 2, RNG_SR_DRDY = 1u << 0 };

#define UNIQUE_ID(word) REGISTER(0x1FFF7A10u + 4u * (word))

#endif
