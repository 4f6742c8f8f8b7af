// Who is signed in, by the cookie only the server reads.
import type { RecentCall, Problem } from './protocol';

export type SignInFailure = 'wrong' | 'too_many' | 'unreachable';

export async function signed_in_as(): Promise<string | null | 'unreachable'> {
  try {
    const answer = await fetch('/api/v1/session', { credentials: 'same-origin', cache: 'no-store' });
    if (answer.status === 401 || answer.status === 403) return null;
    if (!answer.ok) return 'unreachable';
    const { agent } = (await answer.json()) as { agent: string | { id: string } };
    return typeof agent === 'string' ? agent : agent.id;
  } catch {
    return 'unreachable';
  }
}

export async function sign_in(agent: string, password: string): Promise<SignInFailure | null> {
  try {
    const answer = await fetch('/api/v1/session', {
      method: 'POST',
      credentials: 'same-origin',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ agent, password }),
    });
    if (answer.ok) return null;
    if (answer.status === 429 || answer.status === 503) return 'too_many';
    return answer.status < 500 ? 'wrong' : 'unreachable';
  } catch {
    return 'unreachable';
  }
}

export async function sign_out(): Promise<void> {
  await fetch('/api/v1/session', { method: 'DELETE', credentials: 'same-origin' }).catch(() => undefined);
}

export type RecentPage = { calls: RecentCall[]; next: string | null };

export async function recent_calls(cursor: string | null): Promise<RecentPage> {
  const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : '';
  const answer = await fetch(`/api/v1/calls${query}`, { credentials: 'same-origin', cache: 'no-store' });
  if (!answer.ok) throw (await answer.json().catch(() => ({ title: answer.statusText, status: answer.status }))) as Problem;
  const page = (await answer.json()) as { items: RecentCall[]; next?: string | null };
  return { calls: page.items, next: page.next ?? null };
}

export function recording_url(call_id: string): string {
  return `/api/v1/recordings/${encodeURIComponent(call_id)}`;
}
