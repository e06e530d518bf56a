-- Left by a Tollway of schema 0007 that was killed in the middle of an answer.
-- api_key tw_y4P5XrvsyPwrgeQclxqg3HrXgQ1bKD2tkHcs
-- secret.key MTE5Njg4ZDlhNGQ4YjJiNjY1NjI2ZmNkMGI2YjE5ZDA3MWRkMjBjZmU2YTM1MTNmMzk0OWQ2OGVkOTMyYzQ4OAo=
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	created_at DOUBLE NOT NULL, updated_at DOUBLE DEFAULT 0 NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, low_balance_credits BIGINT DEFAULT 10000 NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (id), 
	CONSTRAINT uq_accounts_name UNIQUE (name)
);
INSERT INTO "accounts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw','owner',1.79597319847187781335e+09,1.79597319847187781335e+09,NULL,NULL,NULL,10000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE api_keys (
	id VARCHAR(32) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	prefix VARCHAR(12) NOT NULL, 
	digest BLOB NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	last_used_at DOUBLE, 
	deleted_at DOUBLE, kind VARCHAR(16) DEFAULT 'api' NOT NULL, previous_prefix VARCHAR(12), previous_digest BLOB, previous_expires_at DOUBLE, scopes TEXT, models TEXT, spend_limit_credits BIGINT, spend_window VARCHAR(16), requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, updated_at DOUBLE DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT fk_api_keys_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_api_keys_digest UNIQUE (digest)
);
INSERT INTO "api_keys" VALUES('key_Wdc7mfhxu5xgMIzAtWGJJ','acc_JurO0fVTYEovR0zExZ9Uw','first key','tw_D88us8wsV',X'67418ADF1319F61B3C2097AC06DAD3CCBC1EB00D599FEABCB1B93439DFFA1552',1,1.79597319858171486847e+09,NULL,NULL,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79597319858171486847e+09);
INSERT INTO "api_keys" VALUES('key_riEbRwHbPckN8W24mOLbT','acc_JurO0fVTYEovR0zExZ9Uw','older','tw_y4P5Xrvsy',X'F7118BC104573CF50722BF0A7422EA67FC6E8181E1FDF53D781A417DD7ED7F46',1,1.79597320074912333485e+09,NULL,1.79597320108834719652e+09,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79597320074912333485e+09);
CREATE TABLE balances (
	account_id VARCHAR(32) NOT NULL, 
	posted BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	entries BIGINT NOT NULL, 
	head BLOB NOT NULL, 
	CONSTRAINT pk_balances PRIMARY KEY (account_id), 
	CONSTRAINT ck_balances_ck_balances_held_not_negative CHECK (held >= 0), 
	CONSTRAINT ck_balances_ck_balances_not_overdrawn CHECK (posted >= held), 
	CONSTRAINT fk_balances_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
)
 WITHOUT ROWID

;
INSERT INTO "balances" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',9998692,4368,20,X'A25FAFA1E3E6D4307D18E990A8262B0DC97DF7BF66BBA07BA8964982E4FBAAA3');
CREATE TABLE holds (
	request_id VARCHAR(64) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	node_id VARCHAR(32) NOT NULL, 
	credits BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	spend_window BIGINT, 
	CONSTRAINT pk_holds PRIMARY KEY (request_id)
)
 WITHOUT ROWID

;
INSERT INTO "holds" VALUES('3A2O3So8wFneUzmzmg7AF','acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','node_CWxDd0WiU9P3Nqvw',4368,1.79597320935043907163e+09,NULL);
CREATE TABLE idempotency (
	account_id VARCHAR(32) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_hash BLOB NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	answer BLOB, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_idempotency PRIMARY KEY (account_id, "key")
)
 WITHOUT ROWID

;
CREATE TABLE installation (
	name VARCHAR(32) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_installation PRIMARY KEY (name)
);
INSERT INTO "installation" VALUES('secret_fingerprint','5a32d910838a4b0e1abd1df27c57f7c6cf56b3c236c5653e832ce4c386a1ee14');
CREATE TABLE key_spend (
	key_id VARCHAR(32) NOT NULL, 
	starts_at BIGINT NOT NULL, 
	spent BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	CONSTRAINT pk_key_spend PRIMARY KEY (key_id, starts_at)
)
 WITHOUT ROWID

;
CREATE TABLE latency_counts (
	account_id VARCHAR(32) NOT NULL, 
	span INTEGER NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	bucket BIGINT NOT NULL, 
	measure VARCHAR(12) NOT NULL, 
	size INTEGER NOT NULL, 
	requests BIGINT NOT NULL, 
	CONSTRAINT pk_latency_counts PRIMARY KEY (account_id, span, model, bucket, measure, size)
)
 WITHOUT ROWID

;
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'*',1795971600,'duration',0,2);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'*',1795971600,'duration',4,3);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'*',1795971600,'duration',12,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'*',1795971600,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'*',1795971600,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'*',1795971600,'first_token',11,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'house/scripted',1795971600,'duration',0,2);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'house/scripted',1795971600,'duration',4,3);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'house/scripted',1795971600,'duration',12,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'house/scripted',1795971600,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'house/scripted',1795971600,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3600,'house/scripted',1795971600,'first_token',11,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'*',1795910400,'duration',0,2);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'*',1795910400,'duration',4,3);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'*',1795910400,'duration',12,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'*',1795910400,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'*',1795910400,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'*',1795910400,'first_token',11,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'house/scripted',1795910400,'duration',0,2);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'house/scripted',1795910400,'duration',4,3);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'house/scripted',1795910400,'duration',12,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'house/scripted',1795910400,'first_token',0,4);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'house/scripted',1795910400,'first_token',4,1);
INSERT INTO "latency_counts" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',86400,'house/scripted',1795910400,'first_token',11,1);
CREATE TABLE ledger_entries (
	account_id VARCHAR(32) NOT NULL, 
	number BIGINT NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	posted BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	key_id VARCHAR(32), 
	model VARCHAR(200), 
	reference VARCHAR(64), 
	price_version VARCHAR(16), 
	note VARCHAR(200), 
	hash BLOB NOT NULL, 
	CONSTRAINT pk_ledger_entries PRIMARY KEY (account_id, number), 
	CONSTRAINT uq_ledger_entries_request_id_kind UNIQUE (request_id, kind)
)
 WITHOUT ROWID

;
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',1,'grant','first_grant_acc_JurO0fVTYEovR0zExZ9Uw',10000000,0,0,1.79597319860833525657e+09,NULL,NULL,'init',NULL,NULL,X'09D69B1559890B28FA357E5CC9B520F4ACD3A44B0B0FB574CB677DE52F061234');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',2,'hold','3A2O3FUNnl914a66EhyKk',0,4334,0,1.79597320109114551539e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'F3AE0DDB8043C33ECBEF7E2F931B973B918E56C2D91317E172159F399A6F96CA');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',3,'settle','3A2O3FUNnl914a66EhyKk',-206,-4334,0,1.79597320110106849666e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3FVtMZDfWV9LDPZRD','0a4d8b9c302928ae',NULL,X'AB07D181E46BF3D77A85AA51285C03547208A71E8F87DE11EFF66B4212A25F3F');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',4,'hold','3A2O3FXlDXoYe9AIgdXuD',0,4332,0,1.7959732011135942936e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'52E1926C39285918474ACAC3E30B7D56B28530E9AF6494CEB79D778B17DC7914');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',5,'settle','3A2O3FXlDXoYe9AIgdXuD',-208,-4332,0,1.79597320111625623705e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3FXZPFiQEu8JdRzu2','0a4d8b9c302928ae',NULL,X'9A5A9BBEC01AED29BFC38ECF79BFDDB62EA5F668CEFCA4E46E86C700B2632BBB');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',6,'hold','3A2O3FYxb8CaIdGOpCJNS',0,4334,0,1.79597320112243914605e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'93FEFD851C8ECC61B26309885A5534F4480B5946E3ACDD551306D5E095220750');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',7,'settle','3A2O3FYxb8CaIdGOpCJNS',-210,-4334,0,1.79597320112464356421e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3FYAVi0EYE4lmM8A0','0a4d8b9c302928ae',NULL,X'C16B36D4216B64823A90F71478D6CE6B28BA9508A2888F3C809D08F7BEDF2CDB');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',8,'hold','3A2O3FYszZFVYAzfKUb0f',0,4332,0,1.79597320112680745125e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'3AC502CAF6FF46AAB88EE413552D48E782FE4E95CC1BDFEB3DB621A5AB0DC63A');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',9,'settle','3A2O3FYszZFVYAzfKUb0f',-212,-4332,0,1.7959732011287884712e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3FYo3jwRUj9TkIMNP','0a4d8b9c302928ae',NULL,X'9ED1A37A2B007187592FCAA353D68F0BFB91E48CF7C62543D9BB54E8DE103198');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',10,'hold','3A2O3FZL9MPDRfkEXOHGb',0,4334,0,1.79597320113366293913e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'EA7F3AEA390D6F3203273F3A45D770369AB0F7F1142ADDF9C639E21D25A7095C');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',11,'settle','3A2O3FZL9MPDRfkEXOHGb',-214,-4334,0,1.79597320113555526731e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3FZFRcpw1T3u0XRDm','0a4d8b9c302928ae',NULL,X'DB8F44CDCCB71FA51F523B6D9C634A354085AF419A0065CA5CE14D1B329B17ED');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',12,'hold','3A2O3FafpB601sC4r6QyI',0,4332,0,1.79597320114474248882e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'4B889B3821390B2042FEB610481706EF2F76B09277C2460A33A4B1FD85FE7B34');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',13,'settle','3A2O3FafpB601sC4r6QyI',-216,-4332,0,1.79597320114714097973e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3FaeiMSSGYoSTEdPC','0a4d8b9c302928ae',NULL,X'8052A3D78C2665C10C51C4061BCCB54C5248F8C43E1808A100913DC7A1AC0133');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',14,'hold','3A2O3FbFr4K0bNt4O7Ob3',0,4314,0,1.79597320115404152866e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'62FB80D13F5FCA74272139F829CC74E61EC998DD4D56A235573ED7933BE98DF6');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',15,'release','3A2O3FbFr4K0bNt4O7Ob3',0,-4314,0,1.79597320115632367136e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3FbuVKewWquGZGE6N','0a4d8b9c302928ae',NULL,X'941878E235C6E2F3E68DC1723F1018FEB0B7589F9BE19755C3E121DC7A742EFE');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',16,'hold','3A2O3Fcc9bS4GsYQxt0eV',0,4376,0,1.79597320116583800313e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'EAD301D24BEBB837B94FB075F67BB38AF94027207F9F3DC0A75C4A0D871A933E');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',17,'release','3A2O3Fcc9bS4GsYQxt0eV',0,-4376,50,1.79597320116839194296e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3Fcy7Qv36PVblqCi5','0a4d8b9c302928ae',NULL,X'8F55E3E1DB643F7BCEE5A2D22ABAD518E1194B4EA45FAE5CAF729AEE487D0A99');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',18,'hold','3A2O3FdCQW8VGRu0gfeO4',0,4370,0,1.79597320117210912707e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'91235B3DEA2126C491A007E43A5346ECBE7E13092EEF6AD3751C0B801A1C547C');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',19,'settle','3A2O3FdCQW8VGRu0gfeO4',-42,-4370,0,1.79597320132671666144e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted','3A2O3Fd5eyjYOODeipye8','0a4d8b9c302928ae',NULL,X'63AE422075B0B9FA0F6D5D24860245A620809CD46B433993E68B6BBE9884F3F2');
INSERT INTO "ledger_entries" VALUES('acc_JurO0fVTYEovR0zExZ9Uw',20,'hold','3A2O3So8wFneUzmzmg7AF',0,4368,0,1.79597320935043907163e+09,'key_riEbRwHbPckN8W24mOLbT','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'A25FAFA1E3E6D4307D18E990A8262B0DC97DF7BF66BBA07BA8964982E4FBAAA3');
CREATE TABLE links (
	digest BLOB NOT NULL, 
	purpose VARCHAR(16) NOT NULL, 
	account_id VARCHAR(32), 
	role VARCHAR(16) NOT NULL, 
	user_id VARCHAR(32), 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	CONSTRAINT pk_links PRIMARY KEY (digest), 
	CONSTRAINT fk_links_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT fk_links_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "links" VALUES(X'1047E55BED8FC37DEC2B105194B501DD5E492F542EFE314B5EC68A823EA112CF','first_owner',NULL,'owner',NULL,1.79597319861135077474e+09,1.7960595986106162071e+09);
CREATE TABLE login_tries (
	subject VARCHAR(64) NOT NULL, 
	began_at DOUBLE NOT NULL, 
	tries BIGINT NOT NULL, 
	CONSTRAINT pk_login_tries PRIMARY KEY (subject)
);
CREATE TABLE nodes (
	id VARCHAR(32) NOT NULL, 
	beat_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nodes PRIMARY KEY (id)
);
INSERT INTO "nodes" VALUES('node_CWxDd0WiU9P3Nqvw',1.7959732088828585148e+09);
CREATE TABLE prices (
	version VARCHAR(16) NOT NULL, 
	terms TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_prices PRIMARY KEY (version)
);
INSERT INTO "prices" VALUES('0a4d8b9c302928ae','{"markup_millionths":1000000,"price":{"audio_prompt":"1","cached_prompt":"1","completion":"1","prompt":"1"}}',1.79597319883909273142e+09);
CREATE TABLE rates (
	subject VARCHAR(32) NOT NULL, 
	unit VARCHAR(10) NOT NULL, 
	full_at DOUBLE NOT NULL, 
	CONSTRAINT pk_rates PRIMARY KEY (subject, unit)
)
 WITHOUT ROWID

;
CREATE TABLE read_until (
	reader VARCHAR(20) NOT NULL, 
	id BIGINT NOT NULL, 
	CONSTRAINT pk_read_until PRIMARY KEY (reader)
)
 WITHOUT ROWID

;
INSERT INTO "read_until" VALUES('latency',9);
CREATE TABLE requests (
	id INTEGER NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	inference_id VARCHAR(64) NOT NULL, 
	client_request_id VARCHAR(128), 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	origin VARCHAR(10) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	answered_by VARCHAR(200) NOT NULL, 
	route VARCHAR(200) NOT NULL, 
	attempts INTEGER NOT NULL, 
	stream BOOLEAN NOT NULL, 
	status VARCHAR(10) NOT NULL, 
	finish_reason VARCHAR(20), 
	error_code VARCHAR(64), 
	prompt_tokens BIGINT NOT NULL, 
	cached_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	reasoning_tokens BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	price_version VARCHAR(16) NOT NULL, 
	flags VARCHAR(200), 
	created_at DOUBLE NOT NULL, 
	first_token_ms INTEGER, 
	duration_ms INTEGER NOT NULL, 
	CONSTRAINT pk_requests PRIMARY KEY (id), 
	CONSTRAINT uq_requests_request_id UNIQUE (request_id)
);
INSERT INTO "requests" VALUES(1,'3A2O3FUNnl914a66EhyKk','3A2O3FVtMZDfWV9LDPZRD',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,3,0,4334,206,0,'0a4d8b9c302928ae',NULL,1.79597320109207630152e+09,7,8);
INSERT INTO "requests" VALUES(2,'3A2O3FXlDXoYe9AIgdXuD','3A2O3FXZPFiQEu8JdRzu2',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,4,0,4332,208,0,'0a4d8b9c302928ae',NULL,1.7959732011139917374e+09,2,2);
INSERT INTO "requests" VALUES(3,'3A2O3FYxb8CaIdGOpCJNS','3A2O3FYAVi0EYE4lmM8A0',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,5,0,4334,210,0,'0a4d8b9c302928ae',NULL,1795973201.12272,1,2);
INSERT INTO "requests" VALUES(4,'3A2O3FYszZFVYAzfKUb0f','3A2O3FYo3jwRUj9TkIMNP',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,6,0,4332,212,0,'0a4d8b9c302928ae',NULL,1.79597320112704157829e+09,1,1);
INSERT INTO "requests" VALUES(5,'3A2O3FZL9MPDRfkEXOHGb','3A2O3FZFRcpw1T3u0XRDm',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,7,0,4334,214,0,'0a4d8b9c302928ae',NULL,1.79597320113388967516e+09,1,1);
INSERT INTO "requests" VALUES(6,'3A2O3FafpB601sC4r6QyI','3A2O3FaeiMSSGYoSTEdPC',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,8,0,4332,216,0,'0a4d8b9c302928ae',NULL,1.79597320114504861829e+09,1,2);
INSERT INTO "requests" VALUES(7,'3A2O3FbFr4K0bNt4O7Ob3','3A2O3FbuVKewWquGZGE6N',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,0,'failed',NULL,'upstream_error',29,0,0,0,4314,0,0,'0a4d8b9c302928ae',NULL,1.79597320115431094171e+09,NULL,2);
INSERT INTO "requests" VALUES(8,'3A2O3Fcc9bS4GsYQxt0eV','3A2O3Fcy7Qv36PVblqCi5',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,1,'failed',NULL,'upstream_error',18,0,7,0,4376,0,50,'0a4d8b9c302928ae',NULL,1.79597320116609048849e+09,1,2);
INSERT INTO "requests" VALUES(9,'3A2O3FdCQW8VGRu0gfeO4','3A2O3Fd5eyjYOODeipye8',NULL,'acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT','api','house/scripted','house/scripted','scripted/fake-model',1,1,'cancelled',NULL,NULL,17,0,4,0,4370,42,0,'0a4d8b9c302928ae',NULL,1.79597320117232608794e+09,52,154);
CREATE TABLE sessions (
	digest BLOB NOT NULL, 
	user_id VARCHAR(32) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (digest), 
	CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE TABLE usage_buckets (
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	span INTEGER NOT NULL, 
	bucket BIGINT NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	requests BIGINT NOT NULL, 
	charged BIGINT NOT NULL, 
	succeeded BIGINT NOT NULL, 
	failed BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	CONSTRAINT pk_usage_buckets PRIMARY KEY (account_id, key_id, span, bucket, model)
)
 WITHOUT ROWID

;
INSERT INTO "usage_buckets" VALUES('acc_JurO0fVTYEovR0zExZ9Uw','*',900,1795972500,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_JurO0fVTYEovR0zExZ9Uw','*',3600,1795971600,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_JurO0fVTYEovR0zExZ9Uw','*',86400,1795910400,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT',900,1795972500,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT',3600,1795971600,'house/scripted',9,7,6,2,664,44,1308,50);
INSERT INTO "usage_buckets" VALUES('acc_JurO0fVTYEovR0zExZ9Uw','key_riEbRwHbPckN8W24mOLbT',86400,1795910400,'house/scripted',9,7,6,2,664,44,1308,50);
CREATE TABLE users (
	id VARCHAR(32) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	email VARCHAR(255) NOT NULL, 
	password_hash VARCHAR(200) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	last_login_at DOUBLE, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT fk_users_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_users_email UNIQUE (email)
);
CREATE INDEX ix_api_keys_account_id ON api_keys (account_id);
CREATE INDEX ix_api_keys_prefix ON api_keys (prefix);
CREATE UNIQUE INDEX uq_api_keys_previous_digest ON api_keys (previous_digest);
CREATE UNIQUE INDEX uq_api_keys_account_id_name ON api_keys (account_id, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_holds_account_id ON holds (account_id);
CREATE INDEX ix_ledger_entries_by_hand ON ledger_entries (account_id, at, number) WHERE kind IN ('grant', 'refund', 'adjustment');
CREATE INDEX ix_ledger_entries_transactions ON ledger_entries (account_id, at, number) WHERE posted <> 0;
CREATE INDEX ix_idempotency_at ON idempotency (at);
CREATE INDEX ix_requests_client_request_id ON requests (client_request_id) WHERE client_request_id IS NOT NULL;
CREATE INDEX ix_requests_inference_id ON requests (inference_id);
CREATE INDEX ix_users_account_id ON users (account_id);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_login_tries_began_at ON login_tries (began_at);
CREATE INDEX ix_requests_account_id ON requests (account_id, created_at, id);
CREATE INDEX ix_requests_key_id ON requests (key_id, created_at, id);
CREATE INDEX ix_requests_model ON requests (account_id, model, created_at, id);
CREATE INDEX ix_requests_no_success ON requests (account_id, created_at, id) WHERE status <> 'succeeded';
CREATE INDEX ix_ledger_entries_by_key ON ledger_entries (key_id, at, number) WHERE posted <> 0;
COMMIT;
