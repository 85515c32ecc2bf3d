// What the dashboard's pages add where there is JavaScript: parts that renew themselves (htmx), results that follow
// the log, copy buttons, sliders, the preview of an experiment; and words where something was refused or lost.
import htmx from "htmx.org";

import { copyButtons } from "./copy.js";
import { sendOnce } from "./forms.js";
import { sharedHints } from "./hints.js";
import { keepLive } from "./live.js";
import { lookAtPages } from "./look.js";
import { tellRefusals } from "./refusals.js";
import { keepSession } from "./session.js";
import { timeSliders } from "./slider.js";

// The pages' policy forbids code from strings and inline styles: htmx shall not try.
htmx.config.allowEval = false;
htmx.config.includeIndicatorStyles = false;
htmx.config.selfRequestsOnly = true;
htmx.config.historyCacheSize = 0;

tellRefusals(document);
keepSession(document);
copyButtons(document);
sendOnce(document);
sharedHints(document);
timeSliders(document);
lookAtPages(document);
keepLive(document, htmx);
