// The server puts {projectId, baseUrl, countBots, experiments} in this place.
export const config = __GMP_CONFIG__;
