/** What the browser script of prooflog offers a page, as `window.grademypage`. */

/** A variant that this visitor has met, to forward to your backend with a purchase. */
export interface ExperimentAssignment {
  experimentId: string;
  variantId: string;
  variantName: string;
}

export interface TrackOptions {
  /** Tells events of one type apart: "signup", "purchase". */
  eventName?: string;
  /** Anything that JSON can say; a value goal reads its number from here. */
  eventData?: Record<string, unknown>;
}

/** A call of a page that does not wait for the script. */
export type QueuedCall =
  | ["track", eventType: string, options?: TrackOptions]
  | ["trackConversion", name: string]
  | ["optIn"]
  | ["optOut"];

export interface GradeMyPage {
  /** Report any event; types are snake_case and need no registration. */
  track(eventType: string, options?: TrackOptions): void;
  /** The same as `track("conversion", { eventName: name })`. */
  trackConversion(name: string): void;
  /** The running experiments that this visitor has met, at once; empty for those who are not counted. */
  getExperimentAssignments(): ExperimentAssignment[];
  /** Forget this visitor, and count nothing from now on. */
  optOut(): void;
  /** Count from now on; what `data-consent` on the script's tag waits for. */
  optIn(): void;
  /** Calls as arrays, taken up at once. */
  q: { push(...calls: QueuedCall[]): unknown };
}

declare global {
  interface Window {
    /**
     * Undefined until the script has run, or where it is blocked. With the async snippet it is there from the start:
     * calls wait, and nothing has been assigned yet.
     */
    grademypage?: GradeMyPage;
  }
}
