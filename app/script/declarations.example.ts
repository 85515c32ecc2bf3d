// What pages write; `make script` compiles it, so that the declarations say what the script does.
import type { ExperimentAssignment, GradeMyPage } from "./grademypage";

window.grademypage?.track("video_play", { eventName: "intro", eventData: { seconds: 3, tags: ["a"] } });
window.grademypage?.track("scroll_to_end");
window.grademypage?.trackConversion("signup");
window.grademypage?.optIn();
window.grademypage?.optOut();

const assignments: ExperimentAssignment[] = window.grademypage?.getExperimentAssignments() ?? [];
const forwarded = assignments.map(({ experimentId, variantId, variantName }) => [experimentId, variantId, variantName]);
console.log(forwarded);

// Calls that the script takes up when it has come.
window.grademypage?.q.push(["trackConversion", "signup"], ["track", "video_play", { eventName: "intro" }], ["optIn"]);

// @ts-expect-error: the script may be blocked or not there yet
window.grademypage.trackConversion("signup");
// @ts-expect-error: a conversion has a name
(api: GradeMyPage) => api.trackConversion();
// @ts-expect-error: only these calls wait
(api: GradeMyPage) => api.q.push(["getExperimentAssignments"]);
// @ts-expect-error: data is an object
(api: GradeMyPage) => api.track("video_play", { eventData: "three" });
