// Requests to the daemon's HTTP API, as JSON.

export class ApiError extends Error {
  // `status`: of the answer; 0 when there was none.
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

const PATIENCE = 30_000; // milliseconds for what is only read; a restart or a reload may take longer

// An object with get, post, put and delete. `onSignedOut` is called for each answer 401.
export function makeApi(onSignedOut) {
  async function ask(method, path, body, signal) {
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
        signal,
      });
    } catch {
      throw new ApiError(0, "the daemon does not answer");
    }
    if (response.status === 401) onSignedOut();
    const answer = await response.json().catch(() => null);
    if (!response.ok) {
      throw new ApiError(response.status, answer?.error ?? `the daemon answered ${response.status}`);
    }
    return answer;
  }
  return {
    // `signal`: of what gives it up
    get: (path, signal) => ask("GET", path, undefined, AbortSignal.any([AbortSignal.timeout(PATIENCE), ...(signal === undefined ? [] : [signal])])),
    post: (path, body = {}) => ask("POST", path, body),
    put: (path, body = {}) => ask("PUT", path, body),
    delete: (path) => ask("DELETE", path),
  };
}
