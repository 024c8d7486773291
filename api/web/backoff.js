/** When to try again; pure. */

import { ApiError } from "./api.js";

const FIRST_S = 1;
const LONGEST_S = 30;

/**
 * Decide how long to wait before trying again.
 * @param {unknown} error what went wrong
 * @param {number} attempt how often it was tried, from 1
 * @returns {number | null} seconds, never less than the service asked for; null: trying again is of no use
 */
export function retryDelay(error, attempt) {
  if (!(error instanceof ApiError) || !error.passing) return null;
  const backoff = Math.min(LONGEST_S, FIRST_S * 2 ** (attempt - 1));
  // Jitter: pages that lost the same service should not all come back at once.
  return Math.max(error.retryAfter ?? 0, backoff * (0.75 + Math.random() / 2));
}

/**
 * Wait, unless told to stop.
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>} rejects with the signal's reason
 */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal.addEventListener("abort", stop, { once: true });
  });
}
