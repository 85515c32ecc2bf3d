// Where the visitor is: the view that counts now, and whether the page is on its way out.

export let isLive = false;
export let isLeaving = false;
export let view = {};

export const goLive = () => { isLive = true; };
export const setLeaving = (leaving) => { isLeaving = leaving; };
export const setView = (next) => { view = next; };
