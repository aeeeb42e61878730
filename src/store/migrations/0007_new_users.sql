-- Whether the account is still to be put into a group of groups.default.new_users: made by rosterd, and the call for the group
-- failed or never came. Of accounts made before nobody knows; they count as settled.
alter table user_links add column is_new integer not null default 0;
