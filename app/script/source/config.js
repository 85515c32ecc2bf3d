// The server puts {projectId, baseUrl, countBots?, version, experiments} in this place.
export const config = __GMP_CONFIG__;

export const byId = (list, wanted) => list?.find(({ id }) => id === wanted);
